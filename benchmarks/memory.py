"""
Memory: what Redis holds of a task beyond the submission's own JSON, and what a worker holds of tasks that wait.

Redis' memory is read before and behind, when it has come to rest, and divided by the number of tasks; what the
first task of a queue costs is spread over all.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import load, machine
from benchmarks.drain import A_REQUEST, NOTHING
from benchmarks.figures import Figure, Goal
from benchmarks.load import Load
from benchmarks.scale import Scale
from benchmarks.submit import ONE
from benchmarks.system import MEMORY, System, system, until

LATER = ',"delay_seconds":86400}'
LONG = '{"name":"demo.add","args":{"a":2,"b":3},"metadata":{"note":"%s"}}'
LONG %= "x" * (200 - len(LONG) + 2)
MIB = 2**20


def queued_goal(one: System) -> Goal:
    return Goal(most=100 if one.version.startswith("valkey") else 130)


def fill(one: System, submission: str, many: int) -> float:
    """Bytes a task that *many* of them take, over the submission's own."""
    before = one.used_bytes()
    requests = max(many // A_REQUEST, 1)
    body = f"[{','.join([submission] * A_REQUEST)}]"
    load.run(Load(one.port, "/v1/tasks/batch", body, connections=4, most=requests))
    return (one.used_bytes() - before) / (requests * A_REQUEST) - len(submission)


def memory(scale: Scale, kind: str) -> Iterator[Figure]:
    """Queued, delayed and finished tasks; and the worker's memory while many wait."""
    shapes = (
        ("queued", ONE), ("queued, 200 bytes", LONG), ("delayed", ONE[:-1] + LATER),
        ("delayed, 200 bytes", LONG[:-1] + LATER),
    )  # fmt: skip
    for name, submission in shapes:
        with system(kind, MEMORY, "web") as one:  # a server for each, so that one is not measured in another's gaps
            goal = Goal(most=230) if "delayed" in name else queued_goal(one)
            over = fill(one, submission, scale.stored)
            yield Figure(f"a task {name}: beyond its {len(submission)} bytes", one.where, "bytes", [over], goal)
    yield from ended(scale, kind)


def ended(scale: Scale, kind: str) -> Iterator[Figure]:
    """Finished tasks, and the worker that finished them while others wait."""
    with system(kind, MEMORY, "web", "worker") as one:
        worker = one.parts["worker"].pid
        many = max(scale.stored_ended // A_REQUEST, 1) * A_REQUEST
        before = one.used_bytes()
        fill(one, NOTHING, many)
        until(lambda: one.count("done") >= many, f"{many} tasks are finished")
        over = (one.used_bytes() - before) / many - len(NOTHING)
        yield Figure(f"a task finished: beyond its {len(NOTHING)} bytes", one.where, "bytes", [over])
        idle = machine.rss_bytes(worker) / MIB
        fill(one, ONE[:-1] + LATER, scale.waiting)
        grown = machine.rss_bytes(worker) / MIB - idle
        yield Figure("worker, all processes", one.where, "MiB", [idle])
        yield Figure(f"worker, grown while {scale.waiting:,} delayed wait", one.where, "MiB", [grown], Goal(most=1))
