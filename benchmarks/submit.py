"""
Submitting: one task a request, a hundred a request, and a stream of lines.

One API process, 50 connections. The floors answer documents of the same size under the same server; see `floors.py`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack

import orjson

from benchmarks import load, machine
from benchmarks.figures import Figure, Goal
from benchmarks.load import Load
from benchmarks.scale import Scale
from benchmarks.system import AOF, MEMORY, ROOT, System, floor, system

ONE = '{"name":"demo.add","args":{"a":2,"b":3}}'
HUNDRED = f"[{','.join([ONE] * 100)}]"
AOF_GOAL = Goal(least=2 / 3, is_ratio=True)


def submit(scale: Scale, kind: str) -> Iterator[Figure]:
    """One task a request."""
    with ExitStack() as stack:
        ours = [stack.enter_context(system(kind, persistence, "web")) for persistence in (MEMORY, AOF)]
        floors = {name: stack.enter_context(floor(name)) for name in ("bare", "starlette", "orjson")}
        for one in ours:
            floors[f"evalsha {one.where}"] = stack.enter_context(floor("evalsha", one.server.url))
        rates: dict[str, list[float]] = defaultdict(list)
        cpu: dict[str, list[float]] = defaultdict(list)
        late: dict[str, list[float]] = defaultdict(list)
        sides = floors | {one.where: (one.port, one.parts["web"].pid) for one in ours}
        for _ in range(scale.rounds):
            for name, (port, pid) in sides.items():
                before = machine.cpu_us(pid)
                served = load.run(Load(port, "/v1/tasks", ONE, seconds=scale.seconds))
                rates[name].append(served.a_second)
                cpu[name].append((machine.cpu_us(pid) - before) / max(served.answers, 1))
                late[name].append(served.p99_ms)
                late[f"{name} p50"].append(served.p50_ms)
                rates[f"{name} generator"].append(served.own_us)
        yield Figure("load generator, a raw ASGI endpoint", "no Redis", "req/s", rates["bare"])
        yield Figure("load generator, its own CPU", "no Redis", "us/req", rates["bare generator"])
        yield Figure("Starlette endpoint", "no Redis", "req/s", rates["starlette"])
        yield Figure("Starlette endpoint, CPU", "no Redis", "us/req", cpu["starlette"])
        yield Figure("Starlette endpoint, p99", "no Redis", "ms", late["starlette"])
        yield Figure("Starlette endpoint with orjson", "no Redis", "req/s", rates["orjson"])
        yield Figure("Starlette endpoint with orjson, CPU", "no Redis", "us/req", cpu["orjson"])
        for one in ours:
            where = one.where
            yield Figure(
                "submit, one a request", where, "req/s", rates[where], Goal(least=0.85, is_ratio=True), "Starlette",
                rates["starlette"],
            )  # fmt: skip
            against, rounds = "Starlette + EVALSHA", rates[f"evalsha {where}"]
            yield Figure(
                "submit, one a request", where, "req/s", rates[where], Goal(least=2.5, is_ratio=True), against, rounds
            )
            against = "Starlette with orjson"
            yield Figure("submit, one a request", where, "req/s", rates[where], None, against, rates["orjson"])
            yield Figure("submit, CPU of the API", where, "us/req", cpu[where], None, "Starlette", cpu["starlette"])
            against, rounds = "Starlette + EVALSHA", cpu[f"evalsha {where}"]
            yield Figure("submit, CPU of the API", where, "us/req", cpu[where], None, against, rounds)
            yield Figure("submit, p50 at 50 connections", where, "ms", late[f"{where} p50"])
            yield Figure("submit, p99 at 50 connections", where, "ms", late[where])
        yield cost_of_aof("submit, one a request", ours, rates)


def cost_of_aof(name: str, ours: list[System], rates: dict[str, list[float]]) -> Figure:
    """What the append-only file leaves of the speed without."""
    memory, aof = ours
    return Figure(
        f"{name}: AOF everysec", aof.where, "", rates[aof.where], AOF_GOAL, MEMORY, rates[memory.where]
    )


def batch(scale: Scale, kind: str) -> Iterator[Figure]:
    """A hundred tasks a request."""
    with ExitStack() as stack:
        ours = [stack.enter_context(system(kind, persistence, "web")) for persistence in (MEMORY, AOF)]
        sides = {one.where: one.port for one in ours}
        for one in ours:
            sides[f"many {one.where}"] = stack.enter_context(floor("many", one.server.url))[0]
        rates: dict[str, list[float]] = defaultdict(list)
        for _ in range(scale.rounds):
            for name, port in sides.items():
                path = "/v1/tasks" if name.startswith("many") else "/v1/tasks/batch"
                served = load.run(Load(port, path, HUNDRED, seconds=scale.seconds))
                rates[name].append(served.a_second * 100)
        for one in ours:
            where, floor_rounds = one.where, rates[f"many {one.where}"]
            yield Figure(
                "submit, 100 a request", where, "tasks/s", rates[where], Goal(least=50_000), "Starlette + EVALSHA",
                floor_rounds,
            )  # fmt: skip
        yield cost_of_aof("submit, 100 a request", ours, rates)


def stream(scale: Scale, kind: str) -> Iterator[Figure]:
    """A long stream of lines: how fast, and in how much memory."""
    with ExitStack() as stack:
        ours = [stack.enter_context(system(kind, persistence, "web")) for persistence in (MEMORY, AOF)]
        rates: dict[str, list[float]] = defaultdict(list)
        grown: dict[str, list[float]] = defaultdict(list)
        first: dict[str, list[float]] = defaultdict(list)
        for _ in range(min(scale.rounds, 3)):
            for one in ours:
                pid = one.parts["web"].pid
                load.run(Load(one.port, "/v1/tasks", ONE, most=20))
                before = machine.rss_bytes(pid)
                most, seen = watch(one.port, scale.lines, pid)
                rates[one.where].append(scale.lines / seen["seconds"])
                grown[one.where].append((most - before) / 2**20)
                first[one.where].append(100 * seen["sent_before_first_receipt"] / scale.lines)
        for one in ours:
            where = one.where
            yield Figure(f"stream of {scale.lines:,} lines", where, "tasks/s", rates[where])
            yield Figure("stream, memory that the API grew by", where, "MiB", grown[where])
            yield Figure("stream, sent before the first receipt", where, "% lines", first[where], Goal(most=99.9))
        yield cost_of_aof("stream", ours, rates)


def watch(port: int, lines: int, pid: int) -> tuple[int, dict[str, float]]:
    """Send *lines* from a process of its own: (the most memory of *pid* meanwhile, what the sender saw)."""
    command = [sys.executable, "-m", "benchmarks.lines", str(port), str(lines), ONE]
    most = machine.rss_bytes(pid)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as sending:
        while sending.poll() is None:
            most = max(most, machine.rss_bytes(pid))
            time.sleep(0.05)
        said = sending.stdout.read() if sending.stdout else b""
    if sending.returncode:
        raise RuntimeError(f"the stream ended with status {sending.returncode}; what it said is above")
    return most, orjson.loads(said)
