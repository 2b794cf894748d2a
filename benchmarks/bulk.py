"""
Work on many tasks: how many a second are moved, prioritized, cancelled, replayed and deleted, and how long any of it
holds Redis up.

All tasks wait in one queue, with nobody to run them; a scheduler does the work, and how long it took is what its
document says. Redis notes every command that took over 5 ms (SLOWLOG), which nothing of it may.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx

from benchmarks import load
from benchmarks.drain import A_REQUEST
from benchmarks.figures import Figure, Goal
from benchmarks.load import Load
from benchmarks.scale import Scale
from benchmarks.submit import ONE
from benchmarks.system import HOST, MEMORY, System, system

SLOW_US = 5000
PATIENCE_SECONDS = 900
WAITING = {"state": "queued,scheduled"}
# In this order: each finds what the one before left.
STEPS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("priority", {"filter": {"state": "queued"}, "priority": 9}),
    ("reschedule", {"filter": WAITING, "delay_seconds": 86_400}),
    ("cancel", {"filter": WAITING}),
    ("replay", {"filter": {"state": "cancelled"}}),
    ("delete", {"filter": {"state": "cancelled"}}),
)


def carried(http: httpx.Client, action: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Begin it, and wait for its end: its document then."""
    begun = http.post(f"/v1/bulk/{action}", json=asked)
    assert begun.status_code == 202, begun.text
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        bulk: dict[str, Any] = http.get(begun.headers["location"]).json()
        if bulk["state"] != "running":
            return bulk
        time.sleep(0.2)
    raise AssertionError(f"{action} is not over after {PATIENCE_SECONDS} s")


def seconds_of(bulk: dict[str, Any]) -> float:
    """From its beginning to its end; a scheduler takes it up within half a second, which is in it."""
    began, ended = (datetime.fromisoformat(bulk[name]) for name in ("created_at", "ended_at"))
    return max((ended - began).total_seconds(), 0.001)


def bulk(scale: Scale, kind: str) -> Iterator[Figure]:
    """Every action on as many tasks as wait in other figures."""
    with system(kind, MEMORY, "web", "scheduler") as one, httpx.Client(
        base_url=f"http://{HOST}:{one.port}", timeout=60, trust_env=False
    ) as http:
        one.server.admin.config_set("slowlog-log-slower-than", SLOW_US)
        one.server.admin.config_set("slowlog-max-len", 100_000)
        fill(one, scale.waiting)
        for action, asked in STEPS:
            one.server.admin.slowlog_reset()
            done = carried(http, action, asked)
            rate = done["done"] / seconds_of(done)
            yield Figure(f"{action} of {done['done']:,} tasks", one.where, "tasks/s", [rate], Goal(least=20_000))
            slow = [entry["duration"] / 1000 for entry in one.server.admin.slowlog_get(1000)]
            yield Figure(f"{action}: longest command over 5 ms", one.where, "ms", [max(slow, default=0)], Goal(most=5))


def fill(one: System, many: int) -> None:
    body = f"[{','.join([ONE] * A_REQUEST)}]"
    load.run(Load(one.port, "/v1/tasks/batch", body, connections=4, most=max(many // A_REQUEST, 1)))
