"""How the args of a task become the keyword arguments of a handler."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import jsonschema_rs
import msgspec
import pytest

from service.errors import InvalidArguments, InvalidHandler
from workers.arguments import Arguments

if TYPE_CHECKING:
    from workers import Context


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Address:
    street: str
    number: int = 1


class Size(msgspec.Struct):
    width: float
    inner: list[Address] = []


def arguments(function: Callable[..., Any]) -> Arguments:
    return Arguments("mail:send", function)


async def send(to: str, tries: int = 1, *, ctx: Context) -> None: ...


async def everything(
    whole: int,
    part: float,
    yes: bool,
    text: str,
    maybe: int | None,
    many: list[int],
    by_name: dict[str, float],
    when: datetime,
    day: date,
    token: UUID,
    price: Decimal,
    colour: Colour,
    mode: Literal["fast", "slow"],
    address: Address,
    size: Size,
    few: Annotated[int, msgspec.Meta(ge=1, le=3)],
    anything,
) -> None: ...


EVERYTHING = {
    "whole": 1,
    "part": 2,
    "yes": True,
    "text": "x",
    "maybe": None,
    "many": [1, 2],
    "by_name": {"a": 1.5},
    "when": "2026-11-22T10:00:00Z",
    "day": "2026-11-22",
    "token": "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
    "price": "12.50",
    "colour": "red",
    "mode": "slow",
    "address": {"street": "Main"},
    "size": {"width": 1, "inner": [{"street": "Side", "number": 2}]},
    "few": 3,
    "anything": {"a": [None]},
}


def test_the_schema_says_what_the_signature_says():
    """The published schema names, types and requires what the function does, and nothing of the Context."""
    assert {
        "title": "mail:send",
        "type": "object",
        "properties": {"to": {"type": "string"}, "tries": {"type": "integer", "default": 1}},
        "required": ["to"],
        "additionalProperties": False,
    } == arguments(send).schema
    assert arguments(send).context_name == "ctx"


def test_every_supported_type_arrives_as_python_means_it():
    """A handler receives dates, decimals, enums and structs, not their JSON."""
    bound = arguments(everything).bind(EVERYTHING)
    assert datetime(2026, 11, 22, 10, tzinfo=UTC) == bound["when"]
    assert date(2026, 11, 22) == bound["day"]
    assert UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8") == bound["token"]
    assert Decimal("12.50") == bound["price"]
    assert Colour.RED is bound["colour"]
    assert Address("Main", 1) == bound["address"]
    assert Size(1.0, [Address("Side", 2)]) == bound["size"]
    assert {"a": [None]} == bound["anything"]


def test_the_schema_accepts_what_the_worker_accepts():
    """What passes at submit is not refused by the worker, and stands without any other document."""
    validator = jsonschema_rs.validator_for(arguments(everything).schema, validate_formats=True)
    assert validator.is_valid(EVERYTHING)
    assert not validator.is_valid(EVERYTHING | {"size": {"width": "wide"}})
    assert not validator.is_valid(EVERYTHING | {"few": 4})


@pytest.mark.parametrize("value", [2, 2.0])
def test_a_whole_float_is_an_int(value):
    """JSON Schema takes 2.0 for an integer; so does the worker, and the handler gets an int."""
    assert jsonschema_rs.validator_for(arguments(send).schema).is_valid({"to": "a", "tries": value})
    tries = arguments(send).bind({"to": "a", "tries": value})["tries"]
    assert (int, 2) == (type(tries), tries)


@pytest.mark.parametrize("value", ["2", 2.5, True, None, [2]])
def test_nothing_else_is_an_int(value):
    """The conversion is strict: no surprise from "2" or true."""
    with pytest.raises(InvalidArguments):
        arguments(send).bind({"to": "a", "tries": value})


def test_every_fault_is_named():
    """One refusal tells of the wrong, the unknown and the missing argument."""
    with pytest.raises(InvalidArguments) as refused:
        arguments(send).bind({"tries": "many", "trys": 1, "un~known/": 2})
    assert [
        {"pointer": "/args/tries", "detail": "Expected int, got str"},
        {
            "pointer": "/args/trys",
            "detail": "the handler takes no argument of this name: did you mean 'tries'?",
        },
        {
            "pointer": "/args/un~0known~1",
            "detail": "the handler takes no argument of this name, only: to, tries",
        },
        {"pointer": "/args/to", "detail": "this argument is required"},
    ] == refused.value.errors
    assert "mail:send" in str(refused.value)


def test_a_fault_inside_an_argument_is_pointed_at():
    """The pointer leads into lists and structs."""
    with pytest.raises(InvalidArguments) as refused:
        arguments(everything).bind(EVERYTHING | {"size": {"width": 1, "inner": [{"street": 5}]}})
    assert ["/args/size/inner/0/street"] == [fault["pointer"] for fault in refused.value.errors]


def test_defaults_are_left_to_the_function():
    """What is not given is not passed, so a default is Python's own."""
    assert {"to": "a"} == arguments(send).bind({"to": "a"})


def test_a_function_with_kwargs_takes_any_further_argument():
    """**fields is typed too."""

    def store(key: str, **fields: int) -> None: ...

    assert {"key": "k", "a": 1, "b": 2} == arguments(store).bind({"key": "k", "a": 1, "b": 2})
    assert {"type": "integer"} == arguments(store).schema["additionalProperties"]
    with pytest.raises(InvalidArguments, match="/args/a"):
        arguments(store).bind({"key": "k", "a": "x"})


def test_a_function_without_arguments_takes_an_empty_object():
    """{} is enough, and anything in it is unknown."""

    def nothing() -> None: ...

    assert {} == arguments(nothing).bind({})
    with pytest.raises(InvalidArguments, match="only: none at all"):
        arguments(nothing).bind({"a": 1})


def test_the_context_is_found_under_any_name_and_spelling():
    """A real annotation, a text, an optional one."""
    from workers import Context as Real

    def plain(a: int, me: Real) -> None: ...
    def text(me: "Context | None" = None) -> None: ...  # noqa: UP037
    def dotted(me: "workers.Context") -> None: ...  # type: ignore[name-defined]  # noqa: F821, UP037

    plain.__annotations__["me"] = Real
    assert ["me", "me", "me"] == [arguments(one).context_name for one in (plain, text, dotted)]


class Connection: ...


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def f(a, /): ...", "the positional-only parameter `a`"),
        ("def f(*rest): ...", r"`\*rest` cannot be filled from JSON"),
        ("def f(a: Connection): ...", "`a: Connection` cannot be filled from JSON"),
        ("def f(a: Nowhere): ...", "`a: Nowhere` .*'Nowhere' is not defined"),
        ("def f(a: Context, b: Context): ...", "one plain parameter can take the Context"),
    ],
)
def test_a_signature_that_json_cannot_fill_is_refused(source, reason):
    """The worker does not start, and says which parameter and why."""
    from workers import Context

    scope: dict[str, Any] = {"Connection": Connection, "Context": Context}
    exec(source, scope)
    with pytest.raises(InvalidHandler, match=reason):
        arguments(scope["f"])
