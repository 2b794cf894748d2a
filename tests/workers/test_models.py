"""Pydantic models as arguments and results, where pydantic is installed."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import jsonschema_rs
import pytest

from service.errors import InvalidArguments
from workers import Registry
from workers.eager import eager
from workers.testing import recorded

pydantic = pytest.importorskip("pydantic")

registry = Registry()


class Line(pydantic.BaseModel):  # type: ignore[misc, name-defined]
    article: str = pydantic.Field(min_length=2)
    count: int = 1


class Order(pydantic.BaseModel):  # type: ignore[misc, name-defined]
    day: date
    lines: list[Line]


@registry.task("ship", pool="thread")
def ship(order: Order, more: list[Line] | None = None) -> Order:
    order.lines += more or []
    return order


ORDER = Order(day=date(2026, 11, 22), lines=[Line(article="tea")])


def test_a_model_goes_there_and_comes_back() -> None:
    """The handler gets a model, and the handle answers one."""
    with eager():
        handle = ship.submit_sync(ORDER, more=[Line(article="cup", count=2)])
    assert isinstance(handle.result, Order)
    assert ["tea", "cup"] == [line.article for line in handle.result.lines]


def test_the_schema_is_the_models_own() -> None:
    """The API checks at submit what pydantic published, references included."""
    valid = jsonschema_rs.validator_for(ship.arguments.schema)
    good: dict[str, Any] = {"order": json.loads(ORDER.model_dump_json())}
    assert valid.is_valid(good)
    assert not valid.is_valid({"order": {"day": "2026-11-22", "lines": [{"article": "x"}]}})


def test_every_fault_of_a_model_is_named() -> None:
    """Pydantic's own words, with the place."""
    with recorded() as submitted, pytest.raises(InvalidArguments, match=r"lines\.0\.article: .*; lines\.0\.count: "):
        ship.submit_sync({"day": "2026-11-22", "lines": [{"article": "x", "count": "many"}]})  # type: ignore[arg-type]
    assert [] == submitted
