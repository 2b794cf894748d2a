"""
When the operator is to be told: queues that come late, work that nobody does, tasks that fail.

Pure: given what there is to see, it says which alarms ring. The fact to know: a paused queue is somebody's will, and
rings none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.served import takes
from service.settings import Settings
from service.task import split_queue

LEAST_JUDGED = 20  # tasks; a share of fewer says nothing
ALONE_SECONDS = 30.0  # how long work may wait without a worker: deploys take their time
WINDOW_MINUTES = 5


@dataclass(slots=True)
class Sight:
    """What there is to see. Queues by their stored names, which tell their namespaces."""

    oldest_seconds: Mapping[str, float] = field(default_factory=dict)
    queued: Mapping[str, int] = field(default_factory=dict)
    paused: frozenset[str] = frozenset()
    workers: Sequence[Mapping[str, Any]] = ()
    failed: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # namespace -> failed, and ended well or failed


@dataclass(frozen=True, slots=True)
class Alarm:
    """*type* with `.resolved` behind it tells its end. *key* tells it from others of the type."""

    type: str
    key: str
    told: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"{self.type} {self.key}"


def alarms_of(sight: Sight, settings: Settings) -> Iterator[Alarm]:
    """Those that ring now."""
    for stored, oldest in sorted(sight.oldest_seconds.items()):
        if stored in sight.paused:
            continue
        namespace, queue = split_queue(stored)
        many = sight.queued.get(stored, 0)
        told = {"namespace": namespace, "queue": queue, "queued": many, "oldest_seconds": round(oldest)}
        if settings.alert_queue_seconds and oldest > settings.alert_queue_seconds:
            yield Alarm("queue.delayed", stored, told)
        if oldest > ALONE_SECONDS and not any(serves(worker, stored) for worker in sight.workers):
            yield Alarm("workers.missing", stored, told)
    for namespace, (failed, judged) in sorted(sight.failed.items()):
        if settings.alert_failure_ratio and judged >= LEAST_JUDGED and failed / judged > settings.alert_failure_ratio:
            told = {"namespace": namespace, "failed": failed, "of": judged, "minutes": WINDOW_MINUTES}
            yield Alarm("tasks.failing", namespace, told)


def serves(worker: Mapping[str, Any], stored: str) -> bool:
    """Whether a live worker takes tasks of the queue that is *stored* under this name."""
    return worker.get("state", "running") == "running" and takes(worker, stored)
