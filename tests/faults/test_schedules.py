"""
Each occurrence fires once: with schedulers killed at any instant, Redis restarted, clocks that jump an hour, and two
deploys that overlap. Every test counts what was fired, occurrence by occurrence.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from service.backfill import RUNNING, Backfill
from service.schedule import moment
from service.store import Store, keys
from service.task import epoch_ms
from tests.faults.acting import FAKETIME, Part, clock_env, eventually
from tests.servers import Server
from tests.store.deployments import Deployment
from tests.store.scheduling import HOUR_MS, defined, made, move, read, save

pytestmark = pytest.mark.both_servers

Start = Callable[..., Part]
many = pytest.mark.parametrize("deployment", [1, 16], indirect=True)
SECOND_MS = 1000
NAMES = [f"s{n}" for n in range(10)]
SHOP = """
from workers import every, task

@task("shop.tick", schedule=[every(1, name="both", misfire="all"), every(1, name="{name}")])
async def tick() -> None: ...
"""


async def fired(store: Store, deployment: Deployment) -> dict[str, Counter[int]]:
    """How often each occurrence was fired, by the tasks that there are."""
    found: dict[str, Counter[int]] = {}
    keys_ = [key for client in deployment.clients for key in client.scan_iter(match=b"tp:{*}:t:*", count=1000)]
    for task in await store.tasks.read([key.partition(b":t:")[2] for key in keys_]):
        if task is not None and (said := task.record.submission.get("schedule")):
            found.setdefault(said["name"], Counter())[epoch_ms(said["fire_time"])] += 1
    return found


def lost_or_doubled(times: Counter[int], step_ms: int = SECOND_MS) -> list[str]:
    """What is wrong with the occurrences of an interval: those that came twice, and the gaps between them."""
    doubled = [f"{moment(ms)} came {count} times" for ms, count in times.items() if count != 1]
    gaps = [
        f"nothing between {moment(a)} and {moment(b)}"
        for a, b in itertools.pairwise(sorted(times)) if b - a != step_ms
    ]  # fmt: skip
    return doubled + gaps


async def until_fired(store: Store, since: int, name: str = "s0") -> int:
    """Once that schedule has run more than *since* times: how often it has."""

    async def look() -> int:
        runs = (await read(store, name)).runs
        return runs if runs > since else 0

    found: int = await eventually(look, f"{name} has fired more than {since} times")
    return found


# ---------------------------------------------------------------- schedulers


@many
async def test_schedulers_killed_at_any_instant_lose_and_double_nothing(
    store: Store, start: Start, deployment: Deployment
) -> None:
    """Two of them, ten schedules a second, SIGKILL at random points, now and then both at once."""
    shards = {"shards": str(deployment.shards)}
    for name in NAMES:
        await made(store, name, every_seconds=1, misfire="all")
    running = [start("scheduler", **shards) for _ in range(2)]
    for part in running:
        await part.ready()
    for turn in range(6):
        await asyncio.sleep(random.random())  # any instant is as good as another
        for number in (0, 1) if turn % 3 == 2 else (turn % 2,):
            await running[number].kill()
            running[number] = start("scheduler", **shards)
    since = await until_fired(store, 0)
    await until_fired(store, since + 1)
    found = await fired(store, deployment)
    assert set(NAMES) == found.keys()
    assert {name: [] for name in NAMES} == {name: lost_or_doubled(times) for name, times in found.items()}
    for name in NAMES:
        assert sum(found[name].values()) <= (await read(store, name)).runs


@many
async def test_a_backfill_outlives_its_schedulers(store: Store, start: Start, deployment: Deployment) -> None:
    """Whoever carries it out is killed again and again; none of 120 occurrences is left out or repeated."""
    now_ms = store.tasks.clock.now_ms()
    schedule = await save(store, defined(store, "s0", cron="0 * * * *"))
    end_ms = now_ms - now_ms % HOUR_MS
    asked = {"start_ms": end_ms - 119 * HOUR_MS, "end_ms": end_ms, "rate_per_second": 60, "overlap": "allow",
             "total": 120, "created_ms": now_ms}  # fmt: skip
    assert await store.backfills.begin(Backfill(schedule.member, "b1", asked, schedule=schedule))

    async def progress() -> tuple[bytes, int]:
        found = await store.backfills.read(schedule.member, "b1")
        assert found is not None
        return found.state, found.done

    while (await progress())[0] == RUNNING:
        _, done = await progress()
        pair = [start("scheduler", shards=str(deployment.shards)) for _ in range(2)]

        async def has_moved(done: int = done) -> bool:
            return (await progress())[1] > done

        await eventually(has_moved, "the backfill goes on")
        await asyncio.sleep(random.random() / 2)
        for part in pair:
            await part.kill()
    times = (await fired(store, deployment))["s0"]
    assert [] == lost_or_doubled(times, HOUR_MS)
    assert (120, asked["start_ms"], end_ms) == (len(times), min(times), max(times))


# ---------------------------------------------------------------- Redis


class TestRedisRestarted:
    """A server of the test's own, with everything on disk."""

    @pytest.fixture
    def redis_server(self, start_server: Callable[..., Server]) -> Server:
        return start_server("valkey", appendonly="yes", appendfsync="always")

    async def test_nothing_is_lost_or_doubled(
        self, store: Store, start: Start, redis_server: Server, deployment: Deployment
    ) -> None:
        """Killed in the middle of firing, three times; what came due meanwhile is made up for."""
        for name in NAMES:
            await made(store, name, every_seconds=1, misfire="all")
        for part in [start("scheduler") for _ in range(2)]:
            await part.ready()
        for _ in range(3):
            since = await until_fired(store, 0)
            await until_fired(store, since)
            await asyncio.sleep(random.random() / 2)
            redis_server.kill()
            redis_server.restart()
        since = await until_fired(store, 0)
        await until_fired(store, since + 1)
        found = await fired(store, deployment)
        assert {name: [] for name in NAMES} == {name: lost_or_doubled(times) for name, times in found.items()}


# ---------------------------------------------------------------- clocks

jumping = pytest.mark.skipif(FAKETIME is None, reason="needs libfaketime (Debian: apt-get install libfaketime)")


class FakeClock:
    """The wall clock of processes that are started while it is set; the monotonic one goes on as it does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        self.monkeypatch, self.path = monkeypatch, path
        self.jump(0)

    def jump(self, seconds: int) -> None:
        """Stand so far from the real time."""
        self.path.write_text(f"{seconds:+d}s\n")

    def begin(self) -> None:
        for name, value in clock_env(self.path).items():
            self.monkeypatch.setenv(name, value)

    def end(self) -> None:
        for name in ("LD_PRELOAD", "FAKETIME_TIMESTAMP_FILE"):
            self.monkeypatch.delenv(name)


@pytest.fixture
def fake_clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeClock:
    return FakeClock(monkeypatch, tmp_path / "clock")


@jumping
@pytest.mark.parametrize("seconds", [3600, -3600])
async def test_a_jump_of_the_scheduler_s_clock_changes_nothing(
    store: Store, start: Start, deployment: Deployment, fake_clock: FakeClock, seconds: int
) -> None:
    """An hour forth or back, and back again: Redis' clock decides, and no duty waits for the machine's."""
    await made(store, "s0", every_seconds=1, misfire="all")
    fake_clock.begin()
    scheduler = await start("scheduler").ready()
    fake_clock.end()
    since = await until_fired(store, 0)
    for jumped in (seconds, 0):
        fake_clock.jump(jumped)
        since = await until_fired(store, since + 2)
    await eventually(lambda: scheduler.text.count("the clock of this machine jumped") >= 2)
    assert [] == lost_or_doubled((await fired(store, deployment))["s0"])


class TestRedisClock:
    """Redis' own clock jumps, by which everything is decided."""

    @pytest.fixture
    def redis_server(self, start_server: Callable[..., Server], fake_clock: FakeClock) -> Server:
        fake_clock.begin()
        server = start_server("valkey")  # the allocator of the system's Redis does not go with libfaketime
        fake_clock.end()
        return server

    @jumping
    @pytest.mark.allows("untold")  # events that read as older than an hour are trimmed
    @pytest.mark.parametrize("misfire", ["once", "skip"])
    async def test_an_hour_forth_is_a_misfire_and_an_hour_back_repeats_nothing(
        self, store: Store, start: Start, deployment: Deployment, fake_clock: FakeClock, misfire: str
    ) -> None:
        """The hour that was jumped over goes by the policy; after the jump back nothing comes a second time."""
        await made(store, "s0", every_seconds=1, misfire=misfire)
        await made(store, "far", every_seconds=7200, misfire="all")
        await start("scheduler").ready()
        before = await until_fired(store, 1)
        fake_clock.jump(3600)
        after = await until_fired(store, before + 3)
        fake_clock.jump(0)
        await made(store, "after", every_seconds=1)  # proves that schedules are looked at, after the jump back too
        await until_fired(store, 2, "after")
        found = await fired(store, deployment)
        assert {1} == {*found["s0"].values()} | {*found["after"].values()}
        gaps = lost_or_doubled(found["s0"])
        assert 1 == len(gaps), gaps
        assert after <= len(found["s0"]) < after + 60 + 10
        assert ("far" in found, 0) == (False, (await read(store, "far")).runs)


async def test_what_is_due_in_an_hour_waits_when_the_clock_has_gone_back(
    store: Store, start: Start, deployment: Deployment
) -> None:
    """As if Redis' clock had been an hour ahead: the occurrence that comes next has its time, and others theirs."""
    ahead = await made(store, "ahead", every_seconds=3600)
    await move(store, "ahead", next_ms=ahead.next_ms + HOUR_MS, last_ms=ahead.next_ms, runs=1)
    await made(store, "s0", every_seconds=1)
    await start("scheduler").ready()
    await until_fired(store, 1)
    assert {"s0"} == (await fired(store, deployment)).keys()


# ---------------------------------------------------------------- deploys


@many
async def test_two_deploys_that_overlap_double_and_lose_nothing(
    store: Store, start: Start, deployment: Deployment, tmp_path: Path
) -> None:
    """
    Workers of the old version are restarted while those of the new come up: what both declare fires on, each second
    once; what only the old one declares is gone for good.
    """
    folders = {"v1": tmp_path / "old", "v2": tmp_path / "new"}
    for folder, name in zip(folders.values(), ("gone", "come"), strict=True):
        folder.mkdir()
        (folder / "shop.py").write_text(SHOP.format(name=name))
    common = {"shards": str(deployment.shards), "handlers": "shop", "app": "shop"}

    def worker(version: str) -> Part:
        return start("worker", folder=folders[version], app_version=version, **common)

    old = await worker("v1").ready()
    for part in [start("scheduler", shards=str(deployment.shards)) for _ in range(2)]:
        await part.ready()
    await until_fired(store, 0, "both")
    new = [worker("v2"), worker("v1"), worker("v2")]
    await old.kill()
    for part in new:
        await part.ready()
    await worker("v1").ready()
    since = await until_fired(store, 0, "both")
    await until_fired(store, since + 1, "both")
    assert ["both", "come"] == [one.name for one in await store.schedules.page("default", 10)]
    found = await fired(store, deployment)
    assert [] == lost_or_doubled(found["both"])
    assert {1} == {*found["gone"].values()} | {*found["come"].values()}
    shard = store.schedules.shard_of("default/gone")
    assert not deployment.node(shard).exists(keys.schedule(shard, "default/gone"))
