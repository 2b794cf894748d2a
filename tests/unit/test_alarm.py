"""When the operator is told, and when not."""

from __future__ import annotations

from typing import Any

import pytest

from service.alarm import Sight, alarms_of
from service.settings import Settings

ALL = {"queues": [], "state": "running"}


def types(sight: Sight, **settings: Any) -> list[str]:
    return [alarm.name for alarm in alarms_of(sight, Settings(**settings))]


def test_a_queue_that_comes_late_rings() -> None:
    """From its age on, not before; and what it holds is told."""
    sight = Sight({"shop/mail": 301.0, "default": 299.0}, {"shop/mail": 7, "default": 9}, workers=[ALL])
    [alarm] = alarms_of(sight, Settings())
    assert "queue.delayed shop/mail" == alarm.name
    assert {"namespace": "shop", "queue": "mail", "queued": 7, "oldest_seconds": 301} == alarm.told
    assert [] == types(sight, alert_queue_seconds=0)
    assert 2 == len(types(sight, alert_queue_seconds=10))


def test_a_paused_queue_rings_none() -> None:
    """Somebody wanted it so."""
    assert [] == types(Sight({"default": 9999.0}, {"default": 1}, frozenset({"default"})))


@pytest.mark.parametrize("workers", [[], [{"queues": ["other"]}], [{"queues": [], "state": "quiet"}]])
def test_work_that_nobody_does_rings(workers: list[dict[str, Any]]) -> None:
    """No worker, none of this queue, or one that is quiet; a deploy's half minute is no reason."""
    assert ["workers.missing default"] == types(Sight({"default": 31.0}, {"default": 1}, workers=workers))
    assert [] == types(Sight({"default": 29.0}, {"default": 1}, workers=workers))


@pytest.mark.parametrize(("failed", "rings"), [((11, 20), True), ((10, 20), False), ((19, 19), False)])
def test_tasks_that_fail_ring_when_there_are_enough_to_judge(failed: tuple[int, int], rings: bool) -> None:
    assert rings is bool(types(Sight(failed={"default": failed})))
    assert [] == types(Sight(failed={"default": failed}), alert_failure_ratio=0)
