"""
The contract with an operation for each handler: `/openapi.json?handlers=live`.

Owns how operations and models are called: `email:send` becomes `emailSend`, with `EmailSendArgs` and `EmailSendTask`.
The fact to know: these operations are served by `handler_tasks`, with whatever contract a client was generated from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from service.api.handler_schemas import COMPONENTS, Shapes, pascal
from service.contract import contract, operations

GENERIC = "/v1/handlers/{name}/tasks"
TYPED_ANSWERS = {"200": "The task, which has ended; its result when it succeeded.",
                 "201": "The task, which is stored.",
                 "202": "The task, which had not ended within the wait."}  # fmt: skip


def contract_with(handlers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The contract, and an operation for each of *handlers*, as workers publish them."""
    document = {**contract()}
    document["paths"], document["components"] = dict(document["paths"]), dict(document["components"])
    schemas = document["components"]["schemas"] = dict(document["components"]["schemas"])
    taken = {operation["operationId"] for _, _, operation in operations()}
    for handler in sorted(handlers, key=lambda one: str(one["name"])):
        stem = free_stem(handler["name"], taken, schemas)
        shapes = Shapes(stem, set(schemas) | {stem + "Task", stem + "Args", stem + "Result"})
        published = {"type": "object", **(handler.get("args_schema") or {})}
        args = shapes.add(stem + "Args", published, f"The arguments of `{handler['name']}`.")
        result = result_of(handler, stem + "Result", shapes)
        shapes.components[stem + "Task"] = typed_task(handler["name"], result)
        schemas |= shapes.components
        operation = typed_operation(handler, stem, args)
        taken.add(operation["operationId"])
        document["paths"][GENERIC.replace("{name}", handler["name"])] = {"post": operation}
    return document


def free_stem(name: str, taken: set[str], schemas: Mapping[str, Any]) -> str:
    """What the models of a handler begin with; a number behind what another one has already."""
    stem, number = pascal(name), 1
    wanted = stem
    while lower_first(wanted) in taken or any(wanted + kind in schemas for kind in ("Args", "Task", "Result")):
        number += 1
        wanted = f"{stem}{number}"
    return wanted


def lower_first(name: str) -> str:
    return name[0].lower() + name[1:]


def result_of(handler: Mapping[str, Any], name: str, shapes: Shapes) -> dict[str, Any]:
    """The schema of a handler's result: a reference where it has fields, itself where it is a plain value."""
    if not handler.get("result_schema"):
        return {}
    result = shapes.add(name, handler["result_schema"], "What the handler returned.")
    made = shapes.components[result["$ref"].removeprefix(COMPONENTS)]
    if "properties" in made:
        return result
    shapes.components.pop(name, None)
    return made


def typed_task(name: str, result: dict[str, Any]) -> dict[str, Any]:
    """A `Task` whose result is that of one handler."""
    schema: dict[str, Any] = deepcopy(contract()["components"]["schemas"]["Task"])
    schema["description"] = f"A task of the handler `{name}`."
    if "$ref" not in result:
        said = result.get("description", "What the handler returned.")
        result = {**result, "description": f"{said.rstrip('.')}. Left out until success, and when it was not kept."}
    schema["properties"]["result"] = result
    return schema


def typed_operation(handler: Mapping[str, Any], stem: str, args: dict[str, Any]) -> dict[str, Any]:
    generic = contract()["paths"][GENERIC]
    operation: dict[str, Any] = deepcopy(generic["post"])
    named = generic["parameters"][0]
    operation["operationId"] = lower_first(stem)
    operation["summary"] = f"Submit {handler['name']}"
    operation["description"] = handler.get("description") or operation["description"]
    operation["parameters"] = [one for one in [*generic["parameters"], *operation["parameters"]] if one != named]
    body = {"schema": args}
    operation["requestBody"] = {"required": is_needed(handler), "content": {"application/json": body}}
    for status, said in TYPED_ANSWERS.items():
        answer = {"application/json": {"schema": {"$ref": f"{COMPONENTS}{stem}Task"}}}
        operation["responses"][status] = {"description": said, "content": answer}
    return operation


def is_needed(handler: Mapping[str, Any]) -> bool:
    """Whether a submission must say arguments."""
    return bool((handler.get("args_schema") or {}).get("required"))
