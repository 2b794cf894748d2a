"""
What workers publish of a handler's types, and how generators are told of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import pytest
from pydantic import BaseModel

from service.api.handler_schemas import Shapes, pascal
from service.api.typed_contract import contract_with
from service.contract import operations
from workers.arguments import Arguments
from workers.registry import Registry


@dataclass
class Address:
    street: str
    number: int | None = None


class Sent(msgspec.Struct):
    to: str
    tries: int
    address: Address | None = None


class Letter(BaseModel):
    text: str
    copies: int = 1


def published(function: Any, name: str = "email:send") -> dict[str, Any]:
    return Registry().task(name)(function).published()


def typed(function: Any, name: str = "email:send") -> dict[str, Any]:
    """The components that the contract has for *function* beside its own."""
    document = contract_with([published(function, name)])
    return {key: one for key, one in document["components"]["schemas"].items() if key.startswith(pascal(name))}


async def send(to: str, retries: Annotated[int, msgspec.Meta(ge=0)] = 3, *, kind: Literal["a", "b"] = "a") -> Sent:
    """Send it."""
    raise NotImplementedError


async def plain(a: int) -> float:
    raise NotImplementedError


async def silent(a: int):  # type: ignore[no-untyped-def]
    raise NotImplementedError


async def untrue(a: int) -> "Missing":  # type: ignore[name-defined]  # noqa: F821, UP037
    raise NotImplementedError


async def foreign(letter: Letter) -> Letter:
    raise NotImplementedError


async def odd(pair: tuple[int, str], either: int | str, anything: Any, **rest: int) -> dict[str, list[int]]:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("function", "expected"),
    [(plain, {"type": "number"}), (silent, None), (untrue, None),
     (odd, {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "integer"}}})],
)  # fmt: skip
def test_workers_publish_what_a_function_says_it_returns(function: Any, expected: Any) -> None:
    """A return annotation is read like those of arguments; one that nobody can read stops no worker."""
    assert expected == Arguments("x", function).result_schema()


def test_a_handler_publishes_its_result_only_where_it_has_one() -> None:
    """A function without annotation says nothing about its result."""
    assert "result_schema" not in published(silent)
    assert {"type": "number"} == published(plain)["result_schema"]


def test_models_are_called_after_their_handler() -> None:
    """`email:send` has EmailSendArgs and EmailSendTask, and its own types begin with its name too."""
    found = typed(send)
    assert {"EmailSendArgs", "EmailSendTask", "EmailSendSent", "EmailSendAddress"} == set(found)
    assert {"$ref": "#/components/schemas/EmailSendSent"} == found["EmailSendTask"]["properties"]["result"]
    args = found["EmailSendArgs"]
    assert (["to"], False) == (args["required"], args["additionalProperties"])


def test_defaults_are_told_and_not_sent() -> None:
    """A generated client leaves an argument out, so that the handler's own default holds."""
    retries = typed(send)["EmailSendArgs"]["properties"]["retries"]
    assert {"type": "integer", "format": "int64", "minimum": 0, "description": "Default `3`."} == retries


def test_what_may_be_null_says_so() -> None:
    """None is read by a generated client, be it a value or an object."""
    found = typed(send)
    assert ["integer", "null"] == found["EmailSendAddress"]["properties"]["number"]["type"]
    address = {"$ref": "#/components/schemas/EmailSendAddress"}
    assert [address, {"type": "null"}] == found["EmailSendSent"]["properties"]["address"]["anyOf"]


def test_a_plain_result_needs_no_model() -> None:
    """A number is a number."""
    result = typed(plain)["EmailSendTask"]["properties"]["result"]
    assert ("number", "double") == (result["type"], result["format"])
    assert "EmailSendResult" not in typed(plain)


def test_pydantic_models_are_models_too() -> None:
    """Their fields stand in the contract."""
    found = typed(foreign)
    assert {"text", "copies"} == set(found["EmailSendLetter"]["properties"])
    assert {"text", "copies"} == set(found["EmailSendResult"]["properties"])


def test_what_generators_cannot_read_is_said_more_loosely() -> None:
    """A tuple, a union, and anything: arrays and free values, never a schema that stops a generator."""
    properties = typed(odd)["EmailSendArgs"]["properties"]
    assert ("array", {}) == (properties["pair"]["type"], properties["pair"]["items"])
    assert ({}, {}) == (properties["either"], properties["anything"])


def test_two_handlers_never_share_a_name() -> None:
    """`email:send` and `email.send` have operations and models of their own; so has one called like an operation."""
    handlers = [published(plain, "email:send"), published(plain, "email.send"), published(plain, "submit-task")]
    document = contract_with(handlers)
    found = [entry["post"]["operationId"] for path, entry in document["paths"].items() if "post" in entry]
    assert len(found) == len(set(found))
    assert {"emailSend", "emailSend2", "submitTask2"} <= set(found)
    assert {"EmailSendArgs", "EmailSend2Args", "SubmitTask2Args"} <= document["components"]["schemas"].keys()


def test_the_contract_itself_stays_as_it_is() -> None:
    """What one caller sees of handlers is not served to the next."""
    before = [operation["operationId"] for _, _, operation in operations()]
    contract_with([published(send)])
    assert before == [operation["operationId"] for _, _, operation in operations()]


def test_a_schema_of_a_stranger_stops_nothing() -> None:
    """A worker in another language may publish anything; what cannot be read is anything."""
    loop = {"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}}}
    for schema in (loop, {"type": ["object", "array"]}, {"properties": {"a": True}}, {"$ref": "#/elsewhere"},
                   {"anyOf": []}, {"type": "null"}, {"enum": [1, "a", None]}):  # fmt: skip
        shapes = Shapes("X", set())
        assert shapes.add("XArgs", schema, "")["$ref"].removeprefix("#/components/schemas/") in shapes.components
