"""
Flow keys and groups: what they cost tasks that have none, how fair turns are, and how exactly a rate is kept.

Bare calls of the store on a server with one shard (`drainer.py`), without workers and HTTP, so that what is seen is the
scripts. With `--against DIR` another checkout drains the same tasks in turn, each on a server of its own.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import orjson

from benchmarks.drainer import Drainer
from benchmarks.figures import Figure, Goal
from benchmarks.scale import Scale
from benchmarks.system import MEMORY, ROOT, System
from service.task import Leased
from tests import servers
from tests.store.acting import new

CALLS = (100, 4)
MOST_WEIGHT = 4
ROUNDS = 4  # of all groups, while shares are counted
RATE, BURST = 200, 10  # with a burst of 1 what the loop here is late by is lost for good
LOOK_SECONDS = 0.002


def flow(scale: Scale, kind: str) -> Iterator[Figure]:
    """All of it."""
    with servers.single(kind) as server:
        where = System(server, kind, MEMORY, 0).where
    yield from plain_drain(scale, kind, where)
    for measure in (beside_a_full_key, shares, single_task, rate_kept):
        yield from asyncio.run(measure(scale, kind, where))


# ---------------------------------------------------------------- tasks without ties


def plain_drain(scale: Scale, kind: str, where: str) -> Iterator[Figure]:
    """This checkout, and the other one in turn."""
    sides = [ROOT, *([scale.against] if scale.against else [])]
    many = max(scale.drained // 10, 1)
    with ExitStack() as stack:
        drainers = [stack.enter_context(draining(kind, side)) for side in sides]
        for a_call in CALLS:
            rounds: list[list[dict[str, float]]] = [[] for _ in sides]
            for n in range(3 * scale.rounds):
                for side in (range(len(sides)), reversed(range(len(sides))))[n % 2]:
                    rounds[side].append(asked(drainers[side], many=many, a_call=a_call))
            yield from compared(rounds, where, f"plain tasks, calls of {a_call}")


def compared(rounds: list[list[dict[str, float]]], where: str, name: str) -> Iterator[Figure]:
    cpu, rate = ([[one[part] for one in side] for side in rounds] for part in ("cpu_us", "a_second"))
    other, goal = ("", None) if len(rounds) == 1 else ("other", Goal(most=1.03, is_ratio=True))
    yield Figure(f"{name}: Redis CPU", where, "us/task", cpu[0], goal, other, *cpu[1:])
    least = [[min(side)] for side in cpu]
    yield Figure(f"{name}: Redis CPU, the least", where, "us/task", least[0], goal, other, *least[1:])
    yield Figure(f"{name}: drained", where, "tasks/s", rate[0], None, other, *rate[1:])


@contextmanager
def draining(kind: str, side: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server, and the drainer on it by the code of the checkout *side*."""
    with servers.single(kind) as server:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("TASKPOST_", "REDIS_"))}
        command = [sys.executable, "-P", str(ROOT / "benchmarks" / "drainer.py"), str(server.port)]
        env |= {"PYTHONPATH": str(side), "TASKPOST_LOG_LEVEL": "error"}
        with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
            try:
                yield started
            finally:
                started.terminate()


def asked(drainer: subprocess.Popen[bytes], **what: int) -> dict[str, float]:
    """One round. Raises RuntimeError when the drainer has ended; what it said is on stderr."""
    assert drainer.stdin is not None
    assert drainer.stdout is not None
    drainer.stdin.write(orjson.dumps(what) + b"\n")
    drainer.stdin.flush()
    if not (line := drainer.stdout.readline()):
        raise RuntimeError("the drainer has ended")
    answered: dict[str, float] = orjson.loads(line)
    return answered


async def beside_a_full_key(scale: Scale, kind: str, where: str) -> list[Figure]:
    """Plain tasks, with and without a crowd that waits for a key."""
    many = max(scale.drained // 10, 1)
    async with drainer_on(kind) as alone, drainer_on(kind) as beside:
        await beside.put(new(flow="full", concurrency=1), scale.crowd)
        assert len(await beside.lease(1)) == 1  # and never ends
        rounds = [[await side.round(many, CALLS[0]) for side in (beside, alone)] for _ in range(3 * scale.rounds)]
    name = f"plain tasks beside {scale.crowd:,} of a full key"
    ours, theirs = zip(*rounds, strict=True)
    return [
        Figure(
            f"{name}: {told}", where, unit, [one[part] for one in ours], goal, "alone", [one[part] for one in theirs]
        )
        for told, unit, part, goal in (
            ("Redis CPU", "us/task", "cpu_us", Goal(most=1.1, is_ratio=True)),
            ("drained", "tasks/s", "a_second", Goal(least=0.9, is_ratio=True)),
        )
    ]


# ---------------------------------------------------------------- turns


async def shares(scale: Scale, kind: str, where: str) -> list[Figure]:
    """Groups with weights of 1 to 4 that have work all the while, and as many that come with one task and leave."""
    weights = {f"g{n}": n % MOST_WEIGHT + 1 for n in range(scale.groups)}
    a_round = sum(weights.values())
    taken: Counter[str] = Counter()
    came: dict[str, tuple[int, int]] = {}  # visitor -> how many tasks had started when it came, and how many a round is
    waited: list[float] = []
    async with drainer_on(kind) as drainer:
        for group, weight in weights.items():
            await drainer.store.tasks.flows.weigh(1, "default", group, weight)
            await drainer.put(grouped(group), (ROUNDS + 1) * weight)

        def note(tasks: list[Leased]) -> None:
            for task in tasks:
                group = task.submission["group"]
                if group in came:
                    before, a_round_then = came.pop(group)
                    waited.append((taken.total() - before) / a_round_then)
                taken[group] += 1

        steps = max(scale.groups // 10, 1)
        for n in range(steps):
            visitors = [f"v{n}-{one}" for one in range(scale.groups // steps)]
            for visitor in visitors:
                await drainer.put(grouped(visitor))
            came |= dict.fromkeys(visitors, (taken.total(), a_round + len(came) + len(visitors)))
            await drainer.drain(max(ROUNDS * a_round // steps, 1), CALLS[0], note)
    seen = sum(taken[group] for group in weights)
    off = [abs(taken[group] / (seen * weight / a_round) - 1) * 100 for group, weight in weights.items()]
    name = f"{scale.groups:,} groups of weights 1 to {MOST_WEIGHT}"
    return [
        Figure(f"{name}: largest deviation of a share", where, "%", [max(off)], Goal(most=100 / ROUNDS)),
        Figure(f"{name}: longest wait of a single task", where, "rounds", [max(waited)], Goal(most=1)),
    ]


async def single_task(scale: Scale, kind: str, where: str) -> list[Figure]:
    """One task of a new group beside a crowd of another: how many of the crowd's start before it, each time."""
    before: list[float] = []
    async with drainer_on(kind) as drainer:
        await drainer.put(grouped("crowd"), scale.crowd)
        await drainer.drain(min(scale.crowd // 10, 10_000), CALLS[0])
        for n in range(10 * scale.rounds):
            await drainer.put(grouped(f"single-{n}"))
            order: list[Leased] = []
            while not any(task.submission["group"] == f"single-{n}" for task in order):
                await drainer.drain(1, 1, order.extend)
            before.append(len(order) - 1)
    name = f"a single task beside {scale.crowd:,} of another group"
    return [Figure(f"{name}: longest wait", where, "tasks", [max(before)], Goal(most=1))]


def grouped(group: str) -> Any:
    return new({"name": "demo.add", "args": {"a": 2, "b": 3}, "group": group}, group=group)


# ---------------------------------------------------------------- rates


async def rate_kept(scale: Scale, kind: str, where: str) -> list[Figure]:
    """A key's rate with tasks enough, by Redis' clock: how many start, and how many at most in any second."""
    many = int(RATE * (1 + 2 * scale.seconds))
    async with drainer_on(kind) as drainer:
        await drainer.put(new(flow="rate", rate=RATE, burst=BURST), many)
        starts: list[int] = []
        finished: list[list[bytes]] = []
        while len(starts) < many:
            tasks = await drainer.lease(CALLS[0], finished)
            finished = drainer.endings(tasks)
            starts += [task.leased_ms for task in tasks]
            if not tasks:
                await asyncio.sleep(LOOK_SECONDS)
    in_a_second = max(sum(at <= one < at + 1000 for one in starts[n : n + 2 * RATE]) for n, at in enumerate(starts))
    a_second = (many - BURST) / (starts[-1] - starts[0]) * 1000
    name = f"a rate of {RATE}/s, burst {BURST}"
    return [
        Figure(f"{name}: starts", where, "tasks/s", [a_second], Goal(least=0.98 * RATE)),
        Figure(f"{name}: most in any second", where, "tasks", [in_a_second], Goal(most=RATE + BURST)),
    ]


@asynccontextmanager
async def drainer_on(kind: str) -> AsyncIterator[Drainer]:
    with servers.single(kind) as server:
        drainer = await Drainer.open(server.port)
        try:
            yield drainer
        finally:
            await drainer.close()
