"""
Handlers that wait 50 ms, 200 at once: the rate beside the ideal one, in which a slot is never empty.

What is missing from the ideal is the time from the end of one handler to the start of the next in its slot. The tasks
wait already, and are counted from the first end on.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.drain import A_REQUEST, drained
from benchmarks.figures import Figure, Goal
from benchmarks.handlers import SLEEP_SECONDS
from benchmarks.scale import Scale
from benchmarks.system import MEMORY, system

AT_ONCE = 200
KINDS = {"async def": '{"name":"bench.sleep"}', "def on threads": '{"name":"bench.sleep.thread"}'}


def sleep(scale: Scale, kind: str) -> Iterator[Figure]:
    """`async def` and `def` on threads, in one worker process."""
    many = max(scale.slept * AT_ONCE // A_REQUEST, 1) * A_REQUEST
    ideal = AT_ONCE / SLEEP_SECONDS
    with system(kind, MEMORY, "web", "worker", processes=1, concurrency=AT_ONCE, threads=AT_ONCE) as one:
        for name, submission in KINDS.items():
            drained(one, submission, AT_ONCE)  # threads are started when they are needed
            rounds = [drained(one, submission, many) for _ in range(scale.rounds)]
            parts = [each.a_second / ideal * 100 for each in rounds]
            what = f"sleeping {SLEEP_SECONDS * 1000:g} ms, {AT_ONCE} at once, {name}"
            yield Figure(f"{what}: of the ideal rate", one.where, "%", parts, Goal(least=95))
            yield Figure(f"{what}: worker CPU", one.where, "us/task", [each.worker_us for each in rounds])
