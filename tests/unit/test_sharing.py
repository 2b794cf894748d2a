"""What handlers say that their tasks share: which options can be, and what is made of them at submit. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from service.sharing import declared, shared_of, unknown_fields

SCHEMA = {"type": "object", "properties": {"customer": {}, "region": {"default": "eu"}}}


def added(options: dict[str, Any], submission: dict[str, Any]) -> dict[str, Any]:
    made, faults = shared_of({**options, "args_schema": SCHEMA}, submission)
    assert [] == faults
    return made


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("flow", "api", {"key": "api"}),
        ("flow", {"key": "c:{customer}", "concurrency": 2.0}, {"key": "c:{customer}", "concurrency": 2}),
        (
            "flow",
            {"key": "k", "rate": 5, "period_seconds": timedelta(minutes=1)},
            {"key": "k", "rate": 5, "period_seconds": 60.0},
        ),
        ("group", "{customer}", "{customer}"),
        ("unique", {"by": ("customer",)}, {"by": ["customer"]}),
        ("unique", "invoice {customer}", {"key": "invoice {customer}"}),
    ],
)
def test_options_have_the_form_of_the_contract(name: str, given: Any, expected: Any) -> None:
    """A key may stand alone."""
    assert expected == declared(name, given)


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("flow", 5, "needs a key, or a dict such as {'key'"),
        ("flow", "", "needs 1 to 128 of"),
        ("flow", "a b", "needs 1 to 128 of"),
        ("flow", "k:{customer.id}", "needs 1 to 128 of"),
        ("flow", {"key": "k", "concurrency": 0}, "concurrency 0 is less than"),
        ("flow", {"concurrency": 1}, "key"),
        ("flow", {"key": "k", "burst": 2}, "burst goes with `rate`"),
        ("flow", {"key": "k", "concurency": 2}, 'did you mean "concurrency"'),
        ("group", 7, "needs a text"),
        ("group", "g" * 65, "needs 1 to 64"),
        ("unique", {"by": []}, "by"),
        ("unique", {"key": "k", "by": ["customer"]}, "not together with `key`"),
        ("unique", {"until": "started", "for_seconds": 5}, "not together with `for_seconds`"),
    ],
)
def test_an_option_that_cannot_work_is_refused(name: str, given: Any, told: str) -> None:
    """As a submission with it would be."""
    with pytest.raises(ValueError) as refused:
        declared(name, given)
    assert told in str(refused.value)


def test_fields_are_arguments() -> None:
    """A slip is told with those that there are."""
    options = {"flow": {"key": "{customer}:{cuntry}"}, "group": None, "unique": {"by": ["region", "id"]}}
    told = list(unknown_fields(options, ["customer", "region"]))
    assert [
        "flow: there is no argument cuntry; there are customer, region",
        "unique: there is no argument id; there are customer, region",
    ] == told


@pytest.mark.parametrize(
    ("value", "key"), [(17, "c:17"), (17.0, "c:17"), (1.5, "c:1.5"), ("x-1", "c:x-1"), (True, "c:true"), (0, "c:0")]
)
def test_a_key_is_made_of_an_argument(value: Any, key: str) -> None:
    """Numbers are of one kind, as JSON has them."""
    assert {"flow": {"key": key}} == added({"flow": {"key": "c:{customer}"}}, {"args": {"customer": value}})


def test_an_argument_that_is_not_sent_has_its_default() -> None:
    """As the handler sees it."""
    assert {"group": "eu"} == added({"group": "{region}"}, {})
    assert {"group": "us"} == added({"group": "{region}"}, {"args": {"region": "us"}})


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({}, "it is missing"),
        ({"customer": None}, "it is missing"),
        ({"customer": [1]}, "needs a number, or A-Z"),
        ({"customer": "a b"}, "needs a number, or A-Z"),
    ],
)
def test_an_argument_that_makes_no_key_is_named(args: dict[str, Any], told: str) -> None:
    """Where it is sent, and what is made of it."""
    _, [fault] = shared_of({"flow": {"key": "c:{customer}"}}, {"args": args})
    assert "/args/customer" == fault["pointer"]
    assert "the flow key is made of it, 'c:{customer}'" in fault["detail"]
    assert told in fault["detail"]


def test_a_key_that_gets_too_long_or_empty_is_refused() -> None:
    """With the rule."""
    for text in ("x" * 65, ""):
        _, [fault] = shared_of({"group": "{customer}"}, {"args": {"customer": text}})
        assert "/group" == fault["pointer"]
        assert "needs 1 to 64" in fault["detail"]


def test_a_submission_goes_before_its_handler() -> None:
    """Each option as a whole; a debounce in the place of a unique key."""
    options = {"flow": {"key": "h", "concurrency": 1}, "group": "h", "unique": {"by": ["customer"]}}
    assert {"group": "h", "unique": {"by": ["customer"]}} == added(options, {"flow": {"key": "mine"}})
    assert {"flow", "group"} == added(options, {"debounce": {"seconds": 5}}).keys()
    assert {} == added(options, {"flow": {"key": "m"}, "group": "m", "unique": {}})
