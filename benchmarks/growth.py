"""
What becomes of all this when there is more of it: a million delayed tasks, and a second worker process.

Delayed tasks are submitted by hundreds over HTTP; then ten thousand become due within one second while all others
wait, and each handler notes how late it started. Submitting and draining are measured in turns beside a hundredth, a
tenth and all of those that wait. Two processes are measured in turns with one, at handlers that do nothing and at
handlers that compute, with how busy Redis was, which is one thread; and a cluster of three nodes with one of one.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks import load, machine
from benchmarks.drain import A_REQUEST, NOTHING, Drained, drained
from benchmarks.figures import Figure, Goal, percentile
from benchmarks.handlers import WORK_SECONDS
from benchmarks.latency import Caller
from benchmarks.load import Load
from benchmarks.memory import LATER, MIB
from benchmarks.scale import Scale
from benchmarks.submit import ONE
from benchmarks.system import MEMORY, System, system, until
from service.task import rfc3339

AT_A_TIME = 50_000  # delayed tasks whose rate is one round
SUBMITTED_A_SECOND = 1_000  # at the least, of what is to become due
NOTING = '{"name":"bench.due","args":{"due_ms":0}}'  # how late after the epoch: when it started
WORKING = '{"name":"bench.work"}'
WITHIN = Goal(least=0.9, is_ratio=True)  # of the rate beside a hundredth


def growth(scale: Scale, kind: str) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="taskpost-late-") as folder:
        os.environ["BENCH_NOTES"] = str(Path(folder) / "notes")
        try:
            yield from delayed(scale, kind, Path(folder) / "notes")
            yield from of_nodes(scale, kind, Path(folder) / "notes")
        finally:
            del os.environ["BENCH_NOTES"]
    yield from beside_more(scale, kind)
    yield from of_two(scale, kind)


# ---------------------------------------------------------------- delayed


def wait(one: System, many: int) -> list[float]:
    """Submit *many* that are due tomorrow: tasks a second of each part of them."""
    body, rates = f"[{','.join([ONE[:-1] + LATER] * A_REQUEST)}]", []
    for start in range(0, many, AT_A_TIME):
        requests = max(min(AT_A_TIME, many - start) // A_REQUEST, 1)
        sent = load.run(Load(one.port, "/v1/tasks/batch", body, connections=8, most=requests))
        rates.append(sent.a_second * A_REQUEST)
    return rates


def delayed(scale: Scale, kind: str, notes: Path) -> Iterator[Figure]:
    """Many that wait for tomorrow, and those that become due meanwhile."""
    with system(kind, MEMORY, "web", "worker", "scheduler") as one:
        drained(one, NOTHING, A_REQUEST)
        worker, before = machine.rss_bytes(one.parts["worker"].pid), one.used_bytes()
        rates = wait(one, scale.waiting)
        size = (one.used_bytes() - before) / scale.waiting
        grown = (machine.rss_bytes(one.parts["worker"].pid) - worker) / MIB
        named = f"{scale.waiting:,} delayed"
        yield Figure(f"{named}: submit, 100 a request", one.where, "tasks/s", rates, Goal(least=40_000))
        yield Figure(f"{named}: Redis' memory of each", one.where, "bytes", [size], Goal(most=350))
        yield Figure(f"{named}: grown in the worker", one.where, "MiB", [grown], Goal(most=1))
        rounds = [lateness_ms(one, scale.due, notes) for _ in range(scale.rounds)]
        for part, shown in ((0.5, "p50"), (0.99, "p99"), (1.0, "the latest")):
            late = [percentile(values, part) for values in rounds]
            goal = Goal(most=100) if part > 0.5 else None
            yield Figure(f"{named}, {scale.due:,} due in a second: late, {shown}", one.where, "ms", late, goal)


def lateness_ms(one: System, many: int, notes: Path) -> list[float]:
    """How late *many* handlers started that became due within one second."""
    notes.write_bytes(b"")
    base_ms, caller = int(time.time() * 1000) + 3000 + many * 1000 // SUBMITTED_A_SECOND, Caller(one.port)
    try:
        for start in range(0, many, A_REQUEST):
            due = [base_ms + number * 1000 // many for number in range(start, min(start + A_REQUEST, many))]
            tasks = [f'{{"name":"bench.due","args":{{"due_ms":{at}}},"run_at":"{rfc3339(at)}"}}' for at in due]
            caller.call("POST", "/v1/tasks/batch", f"[{','.join(tasks)}]".encode())
    finally:
        caller.close()
    if time.time() * 1000 > base_ms:
        raise RuntimeError(f"the first of {many} tasks were due before the last was submitted")
    return noted(notes, many)


def noted(notes: Path, many: int) -> list[float]:
    """What *many* handlers noted, once they have."""
    until(lambda: notes.read_bytes().count(b"\n") >= many, f"{many} tasks have started")
    return [float(line) for line in notes.read_text().split()]


# ---------------------------------------------------------------- more that wait, more that work


def beside_more(scale: Scale, kind: str) -> Iterator[Figure]:
    """Submit and drain, in turns, beside a hundredth, a tenth and all."""
    numbers = [max(scale.waiting // part, 1) for part in (100, 10, 1)]
    rounds: dict[int, list[Drained]] = defaultdict(list)
    with ExitStack() as stack:
        systems = {number: stack.enter_context(system(kind, MEMORY, "web", "worker")) for number in numbers}
        for number, one in systems.items():
            wait(one, number)
            drained(one, NOTHING, A_REQUEST)
        for _ in range(scale.rounds):
            for number, one in systems.items():
                rounds[number].append(drained(one, NOTHING, scale.drained))
    least, where = numbers[0], systems[numbers[0]].where
    for name in ("submit", "drain"):
        rates = {
            number: [each.submitted_a_second if name == "submit" else each.a_second for each in some]
            for number, some in rounds.items()
        }
        for number in numbers[1:]:
            what = f"{name} while {number:,} wait"
            yield Figure(what, where, "tasks/s", rates[number], WITHIN, f"while {least:,} wait", rates[least])


def of_two(scale: Scale, kind: str) -> Iterator[Figure]:
    """Two worker processes in turns with one."""
    computing = f"computing {WORK_SECONDS * 1e6:g} us"
    shapes = {"doing nothing": (NOTHING, scale.drained), computing: (WORKING, scale.drained // 3)}
    with ExitStack() as stack:
        one, two = (stack.enter_context(system(kind, MEMORY, "web", "worker", processes=n)) for n in (1, 2))
        for shape, (submission, many) in shapes.items():
            name = f"2 worker processes, {shape}"
            rounds: dict[System, list[Drained]] = {one: [], two: []}
            for side in (one, two):
                drained(side, submission, A_REQUEST)
            for _ in range(scale.rounds):
                for side in (one, two):
                    rounds[side].append(drained(side, submission, many))
            rates = {side: [each.a_second for each in some] for side, some in rounds.items()}
            yield Figure(name, two.where, "tasks/s", rates[two], None, "1 process", rates[one])
            busy = {
                side: [each.a_second * (each.server_us - each.submit_us) / 1e4 for each in some]
                for side, some in rounds.items()
            }
            yield Figure(f"{name}: Redis busy", two.where, "%", busy[two], None, "1 process", busy[one])


def of_nodes(scale: Scale, kind: str, notes: Path) -> Iterator[Figure]:
    """A cluster of three nodes in turns with one of a single node: 16 shards each, one worker process."""
    with ExitStack() as stack:
        one, three = (stack.enter_context(system(kind, MEMORY, "web", "worker", nodes=number)) for number in (1, 3))
        rounds: dict[System, list[tuple[float, float]]] = {one: [], three: []}
        for turn in range(-1, scale.rounds):
            for side, found in rounds.items():
                measured = drained_by_notes(side, scale.drained if turn >= 0 else A_REQUEST, notes)
                found += [measured] if turn >= 0 else []
        (rates, busy), (rates_of_one, busy_of_one) = (zip(*rounds[side], strict=True) for side in (three, one))
        name, against = "3 nodes, drain", "1 node"
        yield Figure(name, one.where, "tasks/s", list(rates), None, against, list(rates_of_one))
        yield Figure(f"{name}: all nodes busy", one.where, "%", list(busy), None, against, list(busy_of_one))


def drained_by_notes(one: System, many: int, notes: Path) -> tuple[float, float]:
    """(tasks a second by what handlers note, processor time of all nodes meanwhile in % of one processor)."""
    notes.write_bytes(b"")
    one.signal("worker", signal.SIGSTOP)
    try:
        body = f"[{','.join([NOTING] * A_REQUEST)}]"
        load.run(Load(one.port, "/v1/tasks/batch", body, connections=4, most=max(many // A_REQUEST, 1)))
        began, began_us = time.perf_counter(), one.server_cpu_us()
    finally:
        one.signal("worker", signal.SIGCONT)
    times_ms = sorted(noted(notes, many))
    busy = (one.server_cpu_us() - began_us) / (time.perf_counter() - began) / 1e4
    return (len(times_ms) - 1) / max(times_ms[-1] - times_ms[0], 1) * 1000, busy
