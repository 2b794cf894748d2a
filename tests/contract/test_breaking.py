"""
No change of the contract breaks a client that was generated before it.

`frozen.yaml` is the contract of the last release. Until there is one, it is a copy that is made anew when something is
changed on purpose: `cp openapi/openapi.yaml tests/contract/frozen.yaml`; the commit says why.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from service.contract import contract, read_yaml
from tests.contract.breaking import Comparison

FROZEN = Path(__file__).with_name("frozen.yaml")
Change = Callable[[dict[str, Any]], Any]


def faults(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return list(Comparison(before, after).faults())


def test_clients_of_the_last_release_still_work() -> None:
    """What was promised is kept; what is new may be added."""
    assert [] == faults(read_yaml(FROZEN.read_bytes()), contract())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda one: one["paths"].pop("/v1/workers"), "GET /v1/workers is gone"),
        (lambda one: one["paths"]["/v1/tasks"]["get"].update(operationId="tasks"), "is called tasks, was listTasks"),
        (lambda one: one["paths"]["/v1/tasks"]["get"]["parameters"].pop(0), "takes no state any more"),
        (lambda one: one["paths"]["/v1/tasks"]["post"]["responses"].pop("202"), "POST /v1/tasks answers 202 no more"),
        (lambda one: schema(one, "Task")["properties"].pop("state"), ".state is gone"),
        (lambda one: schema(one, "Task")["properties"]["attempt"].update(type="string"), ".attempt is ['string']"),
        (lambda one: schema(one, "Task")["required"].remove("state"), ".state may be left out"),
        (lambda one: schema(one, "Submission").update(required=["name"]), "body.name is needed"),
        (lambda one: schema(one, "Submission")["properties"]["tags"].update(maxItems=1), "has a lower maxItems"),
        (lambda one: schema(one, "Submission")["properties"]["method"].update(enum=["GET"]), "takes fewer values"),
        (lambda one: schema(one, "Submission")["properties"].pop("run_at"), "body.run_at is gone"),
    ],
)  # fmt: skip
def test_what_breaks_a_client_is_found(change: Change, expected: str) -> None:
    """Each kind of change that a user's program would notice is named with its place."""
    changed = deepcopy(contract())
    change(changed)
    found = faults(contract(), changed)
    assert [] != [one for one in found if expected in one], found


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one["paths"].update({"/v1/new": one["paths"]["/v1/workers"]}),
        lambda one: schema(one, "Task")["properties"].update(novel={"type": "string"}),
        lambda one: schema(one, "Submission")["properties"].update(novel={"type": "string"}),
        lambda one: schema(one, "Submission")["properties"]["method"]["enum"].append("PURGE"),
        lambda one: schema(one, "Task").update(description="otherwise"),
    ],
)
def test_what_is_added_breaks_nothing(change: Change) -> None:
    """A new operation, field, option or value is no reason to hold a change back."""
    changed = deepcopy(contract())
    change(changed)
    assert [] == faults(contract(), changed)


def schema(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["schemas"][name]
    return found
