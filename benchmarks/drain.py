"""
Draining: tasks that wait already are run by a worker whose handlers do nothing, and their results are stored.

The worker is frozen (SIGSTOP) while the tasks are submitted in requests of a hundred, and let go; Redis itself notes
when each task ended. Redis' processor time is for a task's whole life: submitted, leased, finished, its events noted.
"""

from __future__ import annotations

import signal
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks import load
from benchmarks.figures import Figure, Goal
from benchmarks.load import Load
from benchmarks.scale import Scale
from benchmarks.submit import cost_of_aof
from benchmarks.system import AOF, MEMORY, System, system, until

NOTHING = '{"name":"bench.nothing","args":{"a":2,"b":3}}'
ON_THREAD = '{"name":"bench.thread","args":{"a":2,"b":3}}'
IN_PROCESS = '{"name":"bench.process","args":{"a":2,"b":3}}'
A_REQUEST = 100


@dataclass(slots=True)
class Drained:
    """One round; all but the rate is for one task."""

    a_second: float
    submitted_a_second: float
    submit_us: float
    server_us: float
    worker_us: float
    round_trips: float


def drained(one: System, submission: str, many: int) -> Drained:
    """Let the worker of *one* drain *many* tasks."""
    ended = one.count("done")
    one.signal("worker", signal.SIGSTOP)
    try:
        began_us = one.server_cpu_us()
        body = f"[{','.join([submission] * A_REQUEST)}]"
        sent = load.run(Load(one.port, "/v1/tasks/batch", body, connections=4, most=many // A_REQUEST or 1))
        many = max(many // A_REQUEST, 1) * A_REQUEST
        submitted_us, worker_us, trips = one.server_cpu_us(), one.part_cpu_us("worker"), one.round_trips()
    finally:
        one.signal("worker", signal.SIGCONT)
    until(lambda: one.count("done") >= ended + many, f"{many} tasks are drained")
    trips, worker_us, server_us = one.round_trips() - trips, one.part_cpu_us("worker") - worker_us, one.server_cpu_us()
    times = one.ended_ms(ended)
    after_first = sum(at > times[0] for at in times)  # what the first call recorded took no time that can be seen
    return Drained(
        a_second=after_first / max(times[-1] - times[0], 1) * 1000,
        submitted_a_second=sent.a_second * A_REQUEST,
        submit_us=(submitted_us - began_us) / many,
        server_us=(server_us - began_us) / many,
        worker_us=worker_us / many,
        round_trips=trips / many,
    )


GOALS = {1: Goal(least=10_000), 2: Goal(least=15_000)}


def drain(scale: Scale, kind: str) -> Iterator[Figure]:
    """`async def` handlers with one and with two worker processes, `def` on threads and in child processes with one."""
    for processes in (1, 2):
        yield from of_handler(scale, kind, processes, NOTHING, f"drain, {processes} process" + "es" * (processes > 1))
    yield from of_handler(scale, kind, 1, ON_THREAD, "drain on threads, 1 process")
    yield from of_handler(scale, kind, 1, IN_PROCESS, "drain in child processes, 1 process")


def of_handler(scale: Scale, kind: str, processes: int, submission: str, name: str) -> Iterator[Figure]:
    with ExitStack() as stack:
        ours = [
            stack.enter_context(system(kind, persistence, "web", "worker", processes=processes))
            for persistence in (MEMORY, AOF)
        ]
        is_async = submission == NOTHING
        rounds: dict[str, list[Drained]] = defaultdict(list)
        for _ in range(scale.rounds):
            for one in ours:
                many = scale.drained if is_async else scale.drained_otherwise
                rounds[one.where].append(drained(one, submission, many))
        for one in ours:
            some, where = rounds[one.where], one.where
            goal = GOALS[processes] if is_async else None
            yield Figure(name, where, "tasks/s", [each.a_second for each in some], goal)
            goal = Goal(most=40) if is_async else None
            yield Figure(f"{name}: Redis CPU, whole life", where, "us/task", [each.server_us for each in some], goal)
            yield Figure(f"{name}: Redis CPU, submit", where, "us/task", [each.submit_us for each in some])
            yield Figure(f"{name}: worker CPU", where, "us/task", [each.worker_us for each in some])
            trips = [each.round_trips for each in some]
            yield Figure(f"{name}: round trips", where, "a task", trips, Goal(most=0.05) if is_async else None)
        rates = {where: [each.a_second for each in some] for where, some in rounds.items()}
        yield cost_of_aof(name, ours, rates)
