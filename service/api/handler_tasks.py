"""
`POST /v1/handlers/{name}/tasks`: a task by the arguments of its handler alone, for clients whose types know them.

Owns the order of checks over HTTP, as `Submit` does. Options of the task come as `Taskpost-*` header fields.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from service.api import bodies
from service.api.auth import Gate
from service.api.problems import send_problem, unexpected
from service.api.queries import check_query
from service.api.submit import Submit
from service.errors import InvalidSubmission, InvalidTaskArguments, Problem
from service.passthrough import OF_CALLS, PREFIX, read_option
from service.submission import Fault, counted

PATH = "/v1/handlers/{name}/tasks"
PLACE, END = PATH.split("{name}")


def leads_here(path: str) -> bool:
    """Whether *path* is one of these."""
    return path.startswith(PLACE) and path.endswith(END) and "/" not in path[len(PLACE) : -len(END)]


class HandlerTasks:
    """The endpoint."""

    def __init__(self, submit: Submit, gate: Gate) -> None:
        self.submit, self.gate = submit, gate
        self.settings = submit.settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            headers = dict(scope["headers"])
            caller = await self.gate.admit(scope["headers"], headers, self.submit.scope)
            send = self.gate.rates.announced(caller, scope, send)
            body = await bodies.read_body(receive, headers, self.settings.max_body_bytes, "body")
            if body:
                bodies.check_media_type(headers)
            check_query(scope, PATH, "POST")
            submission = {
                **options_of(scope["headers"]),
                "name": scope["path"][len(PLACE) : -len(END)],
                "args": arguments_of(body, self.settings.max_depth),
            }
            await self.submit.take(caller, scope, receive, send, headers, submission)
        except (InvalidTaskArguments, InvalidSubmission) as problem:
            await send_problem(send, placed(problem), scope)
        except Problem as problem:
            await send_problem(send, problem, scope)
        except ClientDisconnect:
            pass
        except Exception as exc:
            await send_problem(send, unexpected(exc, scope), scope)


def arguments_of(body: bytes, most_levels: int) -> dict[str, Any]:
    """The arguments; none without a body. Raises InvalidSubmission for what is no object."""
    args = bodies.parse(body, most_levels) if body else {}
    if not isinstance(args, dict):
        need = "needs to be an object: the handler's arguments by name"
        raise InvalidSubmission(f"the body {need}", errors=[{"pointer": "", "detail": need}])
    return args


def options_of(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, Any]:
    """The options of a task among header fields. Raises InvalidSubmission with every fault."""
    options: dict[str, Any] = {}
    faults: list[Fault] = []
    for field, given in raw:
        name = field.decode("latin-1").lower()
        if name.startswith(PREFIX) and name not in OF_CALLS:
            try:
                options.update([read_option(name, given.decode("latin-1"))])
            except ValueError as exc:
                faults.append({"header": name, "detail": str(exc)})
    if faults:
        raise InvalidSubmission(counted(faults, "the request"), errors=faults)
    return options


def placed(problem: Problem) -> Problem:
    """*problem* with each fault where it is in this request: arguments in the body, options in the header."""
    for fault in problem.errors:
        pointer = fault.get("pointer", "")
        if pointer == "/args" or pointer.startswith("/args/"):
            fault["pointer"] = pointer.removeprefix("/args")
        elif pointer and pointer != "/name":
            field = pointer.split("/")[1]
            fault["header"] = f"Taskpost-{field.replace('_', '-').title()}"
            del fault["pointer"]
    return problem
