"""
URL tasks: their whole life (leased, called, signed, recorded), against loops that make the same calls and nothing else.

Bare aiohttp and plain httpx call the same endpoint, 100 at once, in a process of their own each. The slow endpoint
answers after a second, to a thousand at once in one worker process; its ideal rate is a thousand a second.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks import load, machine
from benchmarks.drain import A_REQUEST, Drained, drained
from benchmarks.figures import Figure, Goal
from benchmarks.load import Load
from benchmarks.scale import Scale
from benchmarks.submit import cost_of_aof
from benchmarks.system import AOF, MEMORY, ROOT, System, floor, system, until

AT_ONCE = 1000
HTTPX_SHARE = 10  # of the calls; it takes so much longer
MIB = 1024 * 1024


def url(scale: Scale, kind: str) -> Iterator[Figure]:
    """100 at once against an endpoint that answers at once, and 1,000 against one that takes a second."""
    with ExitStack() as stack:
        ours = [stack.enter_context(system(kind, persistence, "web", "worker")) for persistence in (MEMORY, AOF)]
        port, _ = stack.enter_context(floor("endpoint"))
        rounds: dict[str, list[Drained]] = defaultdict(list)
        bare: dict[str, list[float]] = defaultdict(list)
        for _ in range(scale.rounds):
            for caller, many in (("caller", scale.called), ("httpx", max(scale.called // HTTPX_SHARE, 100))):
                bare[caller].append(call_bare(caller, port, many))
            for one in ours:
                rounds[one.where].append(drained(one, submission_to(port), scale.called))
        for one in ours:
            some, where = rounds[one.where], one.where
            rate = [each.a_second for each in some]
            goal, name = Goal(least=0.6, is_ratio=True), "URL tasks, 100 at once"
            yield Figure(name, where, "tasks/s", rate, goal, "bare aiohttp", bare["caller"])
            goal = Goal(least=3, is_ratio=True)
            yield Figure(f"{name}, against httpx", where, "tasks/s", rate, goal, "plain httpx", bare["httpx"])
            yield Figure("URL tasks: worker CPU", where, "us/task", [each.worker_us for each in some])
            yield Figure("URL tasks: Redis CPU, whole life", where, "us/task", [each.server_us for each in some])
        rates = {where: [each.a_second for each in some] for where, some in rounds.items()}
        yield cost_of_aof("URL tasks", ours, rates)
    yield from slow(scale, kind)


def submission_to(port: int) -> str:
    return f'{{"url":"http://127.0.0.1:{port}/","body":{{"order":17,"total":"9.90"}}}}'


def call_bare(caller: str, port: int, many: int) -> float:
    """Calls a second of a bare loop in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.floors", caller, str(port), str(many)]
    return float(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, timeout=120, check=True).stdout)


def slow(scale: Scale, kind: str) -> Iterator[Figure]:
    """A thousand calls at once that take a second each; memory is of all processes of the worker together."""
    with ExitStack() as stack:
        one = stack.enter_context(system(kind, MEMORY, "web", "worker", url_concurrency=AT_ONCE))
        port, _ = stack.enter_context(floor("slow"))
        rates, memory = [], []
        for _ in range(scale.rounds):
            rate, most_bytes = drained_slowly(one, submission_to(port), scale.called_slowly)
            rates.append(rate)
            memory.append(most_bytes / MIB)
        ideal = [float(AT_ONCE)] * len(rates)
        goal = Goal(least=0.8, is_ratio=True)
        yield Figure("URL tasks of 1 s, 1,000 at once", one.where, "tasks/s", rates, goal, "ideal", ideal)
        yield Figure("URL tasks of 1 s: worker memory", one.where, "MiB", memory, Goal(most=200))


def drained_slowly(one: System, submission: str, many: int) -> tuple[float, float]:
    """(tasks a second from the first lease to the last end, most bytes of the worker meanwhile)."""
    ended, most_bytes = one.count("done"), 0
    one.signal("worker", signal.SIGSTOP)
    try:
        body = f"[{','.join([submission] * A_REQUEST)}]"
        load.run(Load(one.port, "/v1/tasks/batch", body, connections=4, most=many // A_REQUEST))
        seconds, micros = one.server.admin.time()
        began_ms = seconds * 1000 + micros / 1000
    finally:
        one.signal("worker", signal.SIGCONT)

    def is_done() -> bool:
        nonlocal most_bytes
        most_bytes = max(most_bytes, machine.rss_bytes(one.parts["worker"].pid))
        return one.count("done") >= ended + many

    until(is_done, f"{many} slow tasks are done")
    return many / (one.ended_ms(ended)[-1] - began_ms) * 1000, most_bytes
