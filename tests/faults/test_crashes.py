"""Many crashes: nothing of them stays behind, neither in the worker nor in Redis."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from service.store import Store
from tests.faults.acting import Part, descendants, eventually, until_ended
from tests.store.acting import new, submit

pytestmark = pytest.mark.both_servers

Start = Callable[..., Part]


def descriptors(part: Part) -> int:
    """How many descriptors a worker's processes and their nurseries hold; executors come and go."""
    holders = [part.pid, *part.children(), *(one for child in part.children() for one in descendants(child)[:1])]
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in holders)


@pytest.mark.full
async def test_a_thousand_crashes_in_a_row_leave_nothing_behind(store: Store, start: Start) -> None:
    """No process, no descriptor; and of keys only the failed tasks themselves, as the check after each test sees."""
    worker = await start(handlers="tests.faults.child_handlers", children="2").ready()

    async def run(many: int) -> None:
        crash = new({"name": "child.exit", "args": {"code": 1}, "max_crashes": 1}, lane="process", max_crashes=1)
        good = new({"name": "child.pid"}, lane="process")
        ids = await submit(store, *[task for _ in range(many) for task in (crash, good)])
        found = await until_ended(store, *ids)
        assert [("failed", 2), ("succeeded", 0)] * many == [
            (one.state, (one.record.outcome or {}).get("crashes", 0)) for one in found
        ]

    await run(10)
    before = descriptors(worker)
    await run(500)
    # An executor that lives has two; one for each crash would be hundreds.
    await eventually(lambda: descriptors(worker) <= before + 10, f"no more descriptors than {before} and some")
    await eventually(lambda: len(descendants(worker.pid)) <= 4, "a process, its nursery, two executors")
