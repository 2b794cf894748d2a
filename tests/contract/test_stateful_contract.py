"""
Walks through the API as its answers lead: what one operation answers, an id, a name, is what the next is asked about.

schemathesis finds the ways, some five hundred, in the schemas of the contract. Besides the checks of single requests it
looks whether what was made is there, and what was deleted is gone.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis.errors import FlakyStrategyDefinition
from schemathesis.core.failures import FailureGroup

from tests.contract.fuzzing import SAME_EACH_TIME, SCHEMA, addressed, exempt, live_api

WALKS, STEPS, LEAST_STEPS = 40, 8, 50


@pytest.mark.full
def test_walks_meet_only_what_the_contract_tells_of() -> None:
    """
    Each walk begins in an empty namespace, so that it goes the same way in each run. One that does not, since something
    took too long on a slow machine, ends the walking early, and is no fault of the contract.
    """
    faults: list[str] = []
    steps, numbers = count(1), count(1)
    with live_api() as api:
        base = str(api.http.base_url)

        class Walk(SCHEMA.as_state_machine()):
            def setup(self) -> None:
                asked = {"name": "walk", "namespace": f"walk-{next(numbers)}", "scopes": ["admin"]}
                made = api.http.post("/v1/keys", json=asked, headers={"authorization": "Bearer the-operators"})
                self.key = made.json()["key"]

            def before_call(self, case: schemathesis.Case) -> None:
                addressed(case, self.key)
                next(steps)

            def get_call_kwargs(self, case: schemathesis.Case) -> dict[str, Any]:
                return {"base_url": base, "timeout": 60}

            def validate_response(self, response: Any, case: schemathesis.Case, **given: Any) -> None:
                given.pop("additional_checks", None)
                try:
                    excused = exempt(case, response.status_code)
                    case.validate_response(
                        response, excluded_checks=excused, transport_kwargs=given, recorder=self.recorder
                    )
                except FailureGroup as found:
                    faults.append("\n".join(map(str, found.exceptions)))

        with suppress(FlakyStrategyDefinition):
            Walk.run(settings=hypothesis.settings(SAME_EACH_TIME, max_examples=WALKS, stateful_step_count=STEPS))
    assert not faults, "\n\n".join(faults)
    assert next(steps) > LEAST_STEPS
