"""
Schedules: how many there may be, how late they fire, and what that costs.

Of all schedules half fire every 100 s, evenly spread; three tenths every minute at a whole second, hundreds together;
the others once a day. With 100,000 that is 1,000 fires a second. How late an occurrence was is read from the history,
which the script that fires writes by Redis' clock.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import redis

from benchmarks import load, machine
from benchmarks.figures import Figure, Goal, percentile
from benchmarks.load import Load
from benchmarks.scale import Scale
from benchmarks.system import AOF, HOST, MEMORY, System, started, system, until
from service.schedule import Schedule, parse_row
from service.settings import Settings
from service.store import Store
from service.store.schedules import NEW
from service.task import rfc3339

MIB = 2**20
EVERY_MS = 100_000
FIRST = "first"
TASK = {"name": "bench.nothing", "args": {}, "metadata": {"day": "{{ fire_time | date }}"}}
TARGET = {"queue": "default", "lane": "async"}
NEW_ONE = '{"cron":"H H * * *","timezone":"Europe/Berlin","task":{"name":"demo.add","args":{"a":2,"b":3}}}'
SAVED_A_SECOND = 3_000  # at the least
A_CALL = 500


def made(number: int, many: int, base_ms: int) -> Schedule:
    """The schedule of that *number*, whose first occurrences come from *base_ms* on."""
    kind = number % 10
    if kind < 5:
        next_ms = base_ms + number * EVERY_MS // many
        times = {"every_seconds": EVERY_MS // 1000, "anchor_at": rfc3339(next_ms)}
    elif kind < 8:
        second = number // 10 % 60
        next_ms = base_ms + (second * 1000 - base_ms) % 60_000
        times = {"cron": f"{second} * * * * *"}
    else:
        next_ms = base_ms + 86_400_000 - base_ms % 86_400_000
        times = {"cron": "0 0 * * *"}
    definition = {**times, "task": TASK, "target": TARGET, "created_ms": base_ms, "updated_ms": base_ms}
    return Schedule("default", f"bench-{number}", definition, next_ms=next_ms)


@asynccontextmanager
async def store_of(one: System) -> AsyncIterator[Store]:
    """The store, in this process, without its warnings."""
    logging.getLogger("taskpost").setLevel(logging.ERROR)
    store = await Store.open(Settings.from_env(one.env))
    try:
        yield store
    finally:
        await store.close()


async def save_all(one: System, many: int) -> tuple[int, list[Schedule]]:
    """Save *many*: (when the first of them fires, all)."""
    async with store_of(one) as store:
        base_ms = int(time.time() * 1000) + 5_000 + many * 1000 // SAVED_A_SECOND
        all_of_them = [made(number, many, base_ms) for number in range(many)]
        for start in range(0, many, A_CALL):
            chunk = all_of_them[start : start + A_CALL]
            await asyncio.gather(*(store.schedules.save(two, NEW, two.next_ms) for two in chunk))
    return base_ms, all_of_them


async def save_first(one: System) -> None:
    """Save one that is due already."""
    now_ms = int(time.time() * 1000)
    times = {"at": [rfc3339(now_ms)], "created_ms": now_ms, "updated_ms": now_ms}
    schedule = Schedule("default", FIRST, {**times, "task": TASK, "target": TARGET}, next_ms=now_ms)
    async with store_of(one) as store:
        await store.schedules.save(schedule, NEW, now_ms)


def lateness_ms(one: System, fired: Sequence[Schedule]) -> list[float]:
    """How late the first occurrences of *fired* were. Raises RuntimeError for one that did not fire, or fired twice."""
    found: list[float] = []
    with redis.Redis(HOST, one.server.port) as client:
        for start in range(0, len(fired), 1000):
            chunk, pipe = fired[start : start + 1000], client.pipeline(transaction=False)
            for schedule in chunk:
                pipe.lrange(f"tp:{{0}}:sh:{schedule.member}", 0, -1)
            for schedule, rows in zip(chunk, pipe.execute(), strict=True):
                happened = [row for row in map(parse_row, rows) if row.fire_ms == schedule.next_ms]
                if [row.kind for row in happened] != ["fired"]:
                    raise RuntimeError(f"{schedule.member}: {happened} instead of one occurrence at {schedule.next_ms}")
                found.append(happened[0].at_ms - happened[0].fire_ms)
    return found


def schedules(scale: Scale, kind: str) -> Iterator[Figure]:
    """Start-up, memory, lateness and processor time of a scheduler, and the rate at which the API saves."""
    with system(kind, MEMORY) as one:
        before = one.used_bytes()
        base_ms, all_of_them = asyncio.run(save_all(one, scale.schedules))
        size = (one.used_bytes() - before) / scale.schedules
        yield Figure("Redis, a schedule", one.where, "bytes", [size])
        asyncio.run(save_first(one))
        began = time.monotonic()
        with started(one, "scheduler"):
            until(lambda: one.server.admin.exists(f"tp:{{0}}:sh:default/{FIRST}"), "the first schedule has fired")
            named = f"{scale.schedules:,} schedules"
            yield Figure(
                f"scheduler, {named}: started -> fires", one.where, "s", [time.monotonic() - began], Goal(most=2)
            )
            yield from firing(scale, one, base_ms, all_of_them)
    with system(kind, AOF, "web") as one:
        rounds = [
            load.run(Load(one.port, "/v1/schedules", NEW_ONE, seconds=scale.seconds)).a_second
            for _ in range(scale.rounds)
        ]
        yield Figure("POST /v1/schedules, 50 connections", one.where, "schedules/s", rounds)


def firing(scale: Scale, one: System, base_ms: int, all_of_them: Sequence[Schedule]) -> Iterator[Figure]:
    """What a scheduler does in its first seconds from *base_ms* on."""
    pid = one.parts["scheduler"].pid
    until(lambda: time.time() * 1000 >= base_ms, "the first are due")
    ours, theirs = machine.cpu_us(pid), one.server_cpu_us()
    until_ms = base_ms + scale.fire_seconds * 1000
    fired = [schedule for schedule in all_of_them if schedule.next_ms < until_ms]
    until(lambda: time.time() * 1000 >= until_ms, "the time is over")
    until(lambda: not overdue(one, until_ms), "all that was due has fired")
    ours, theirs = machine.cpu_us(pid) - ours, one.server_cpu_us() - theirs
    late = lateness_ms(one, fired)
    a_second = f"{len(fired) / scale.fire_seconds:,.0f} a second"
    for part, goal in ((0.5, None), (0.99, Goal(most=250)), (1.0, None)):
        named = f"p{part * 100:g}" if part < 1 else "the latest"
        yield Figure(f"occurrence -> fired, {a_second}, {named}", one.where, "ms", [percentile(late, part)], goal)
    yield Figure("scheduler, memory", one.where, "MiB", [machine.rss_bytes(pid) / MIB], Goal(most=300))
    yield Figure("scheduler, processor time a fire", one.where, "us", [ours / len(fired)])
    yield Figure("Redis, processor time a fire", one.where, "us", [theirs / len(fired)])


def overdue(one: System, until_ms: int) -> int:
    """Schedules whose occurrence before *until_ms* has not fired yet."""
    return int(one.server.admin.zcount("tp:{0}:sched", "-inf", until_ms - 1))
