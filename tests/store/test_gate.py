"""Whether endpoints may be called: places, circuits over several processes, disabled endpoints, and Redis away."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from service.errors import StoreUnavailable
from service.ids import created_ms, new_ids
from service.outcome import Deferred, Failed, Outcome, PutOff, Succeeded, failed
from service.store import Store
from service.task import Leased
from workers.push.gate import Gate, Visit
from workers.push.spot import LONGEST_SECONDS, Spot

OPTIONS = {"timeout_seconds": 30, "retries": 3, "retry_for_seconds": 86_400}
HERE = "https:a.example"
DOWN = failed("ConnectError", "https://a.example/: cannot connect: refused", retry=True)
DONE = Succeeded(b"null", {"status": 200})


class Process:
    """A worker process, as far as it calls endpoints."""

    def __init__(self, store: Store, slots: int = 100, **settings: Any) -> None:
        self.store = store
        self.gate = Gate(store, dataclasses.replace(store.settings, **settings), lambda: slots)

    async def enter(
        self, url: str = "https://a.example/x?y=1", **more: Any
    ) -> Visit | Failed | Deferred | PutOff | None:
        now_ms = self.store.tasks.clock.now_ms()
        (id_,) = new_ids(0, 1, now_ms)
        task = Leased(id_, b"t" * 12, b"", {"url": url, **more}, "default", "default", 5, "url", 1, 0, now_ms)
        return await self.gate.enter(task, OPTIONS, now_ms)

    async def visit(self, url: str = "https://a.example/x", **more: Any) -> Visit:
        entered = await self.enter(url, **more)
        assert isinstance(entered, Visit)
        return entered

    async def call(self, outcome: Outcome | None, **more: Any) -> None:
        (await self.visit(**more)).leave(outcome)

    def old(self) -> None:
        """As if what is known had been read long ago."""
        self.gate.fresh.forget()


@pytest.fixture
def made(store: Store) -> Callable[..., Process]:
    return lambda **given: Process(store, **given)


# ---------------------------------------------------------------- places


async def test_a_slow_endpoint_leaves_places_to_others(made: Callable[..., Process]) -> None:
    """Half of them; two slow ones together leave a third; and one that is fast takes nearly all."""
    process = made(slots=90)
    await process.visit()
    (here,) = process.gate.spots.values()
    process.gate.look(here.begun[1] + 0.1)
    assert 81 == here.limit
    process.gate.look(here.begun[1] + 1)
    assert 45 == here.limit
    await process.visit("https://b.example/")
    process.gate.look(here.begun[1] + 100)
    assert [30, 30] == [one.limit for one in process.gate.spots.values()]


async def test_a_task_without_a_place_is_put_off(made: Callable[..., Process]) -> None:
    """At once where the endpoint is slow; it holds no slot, and others are let in."""
    process = made(slots=2)
    await process.visit()
    (here,) = process.gate.spots.values()
    here.limit, here.is_slow, process.gate.looked_at = 1, True, float("inf")
    assert isinstance(await process.enter(), PutOff)
    assert isinstance(await process.enter("http://a.example/"), Visit)


async def test_a_place_that_becomes_free_soon_is_waited_for(made: Callable[..., Process]) -> None:
    """An endpoint that is fast costs no way through Redis."""
    process = made(slots=2)
    first = await process.visit()
    (here,) = process.gate.spots.values()
    here.limit, process.gate.looked_at = 1, float("inf")
    waiting = asyncio.create_task(process.enter())
    while not here.waiting:
        await asyncio.sleep(0)
    assert isinstance(await process.enter(), PutOff)  # the line is full
    first.leave(DONE)
    assert isinstance(await waiting, Visit)
    assert isinstance(await process.enter(), PutOff)  # nobody leaves in time
    assert 0 == process.gate.in_line


async def test_an_endpoint_has_the_places_that_are_set(made: Callable[..., Process], store: Store) -> None:
    await store.endpoint_settings.put("default", HERE, "concurrency", 2)
    process = made()
    await process.visit()
    await process.visit()
    assert isinstance(await process.enter(), PutOff)


def test_tasks_that_are_put_off_come_back_one_by_one() -> None:
    """At the pace at which the endpoint works, so that each is leased about twice; never later than ten minutes."""
    here = Spot("default", HERE, 50)
    here.begin(0.0)
    here.end(1, 2.0)
    delays = [here.next_place(10.0, lambda: 0.5) for _ in range(10_000)]
    assert delays[:9_000] == sorted(delays[:9_000])
    assert 2.0 < delays[0] < 2.1
    assert 1.8 * 5_000 / 50 == pytest.approx(delays[4_999] - delays[0], rel=0.01)
    many = [here.next_place(10.0, lambda: 0.5) for _ in range(100_000)]
    assert max(many) <= LONGEST_SECONDS
    assert LONGEST_SECONDS / 2 <= min(many)


# ---------------------------------------------------------------- circuits


async def test_a_circuit_opens_for_every_process(made: Callable[..., Process]) -> None:
    """Those that called nothing hear of it within two seconds; tasks come back, and are told the reason."""
    one, other = made(), made()
    assert isinstance(await other.enter(), Visit)
    for _ in range(10):
        await one.call(DOWN)
    assert one.gate.urgent.is_set()
    await one.gate.tell()
    kept = await one.enter()
    assert isinstance(kept, Deferred)
    assert "CircuitOpen" == kept.kind
    assert "https:a.example is not called for now, since" in kept.reason
    assert "10 calls in a row failed" in kept.reason
    assert 0 < kept.after_seconds < 6
    other.old()
    assert isinstance(await other.enter(), Deferred)


async def test_one_task_of_all_processes_probes(made: Callable[..., Process], store: Store) -> None:
    """When the pause is over; the answer closes the circuit for all, and what waited is called."""
    processes = [made(breaker_seconds=0.1) for _ in range(3)]
    for _ in range(10):
        await processes[0].call(DOWN)
    await processes[0].gate.tell()
    probes: list[Visit] = []
    while not probes:
        for process in processes:
            process.old()
        entered = [await process.enter() for process in processes * 5]
        probes = [one for one in entered if isinstance(one, Visit)]
    assert 1 == len(probes)
    probes[0].leave(DONE)
    await probes[0].gate.tell()
    assert {} == await store.traffic.circuits()
    for process in processes:
        process.old()
        await process.call(DONE)


async def test_a_million_tasks_that_wait_do_not_spin(made: Callable[..., Process]) -> None:
    """They come back a hundred a second, for each process, and each some minutes later at the latest."""
    process = made(breaker_seconds=60)
    for _ in range(10):
        await process.call(DOWN)
    await process.gate.tell()
    delays = []
    for _ in range(2000):
        kept = await process.enter()
        assert isinstance(kept, Deferred)
        delays.append(kept.after_seconds)
    assert 55 < min(delays)
    assert 15 < max(delays) - min(delays) < 25


async def test_a_task_is_kept_back_within_its_time_only(made: Callable[..., Process], store: Store) -> None:
    process = made(breaker_seconds=60)
    for _ in range(10):
        await process.call(DOWN)
    await process.gate.tell()
    now_ms = store.tasks.clock.now_ms()
    (id_,) = new_ids(0, 1, now_ms)
    task = Leased(id_, b"t" * 12, b"", {"url": "https://a.example/"}, "default", "default", 5, "url", 1, 0, now_ms)
    kept = await process.gate.enter(task, {**OPTIONS, "retry_for_seconds": 3}, created_ms(id_) + 1000)
    assert isinstance(kept, Deferred)
    assert 2 == kept.after_seconds


async def test_refusals_open_no_circuit(made: Callable[..., Process]) -> None:
    """A 404 is an answer; what was broken off, put off or never made tells nothing."""
    process = made()
    refused = Failed({"type": "HttpStatus404", "message": "", "traceback": None}, False, http={"status": 404})
    denied = failed("EgressDenied", "may not be called", retry=False)
    for outcome in (refused, Deferred(5, "Retry-After", {"status": 503}), denied, None) * 10:
        await process.call(outcome)
    await process.gate.tell()
    assert {} == process.gate.circuits
    assert 10 == (await process.store.traffic.one("default", HERE))[0].refused


# ---------------------------------------------------------------- disabled


async def test_nothing_is_called_that_is_disabled(made: Callable[..., Process], store: Store) -> None:
    """But by a test, which also closes the circuit when it is answered."""
    off = {"at_ms": 1_800_000_000_000, "by": "operator", "reason": "disabled by hand"}
    await store.endpoint_settings.put("default", HERE, "disabled", off)
    process = made()
    refused = await process.enter()
    assert isinstance(refused, Failed)
    assert "EndpointDisabled" == refused.error["type"]
    assert "since 2027-01-15T08:00:00.000Z: disabled by hand" in refused.error["message"]
    assert not refused.retry
    await process.call(DONE, endpoint_test=True)


async def test_an_endpoint_that_fails_for_days_is_disabled(made: Callable[..., Process], store: Store) -> None:
    """The operator is told, once, by a task; whichever processes find out."""
    url = "https://ops.example/alerts"
    tasks = store.tasks
    tasks.settings = dataclasses.replace(tasks.settings, alert_url=url)
    one, other = (made(endpoint_disable_seconds=0.001, breaker_failures=0) for _ in range(2))
    await one.call(DOWN)
    await one.gate.tell()
    while "disabled" not in await store.endpoint_settings.read("default", HERE):
        await asyncio.gather(one.call(DOWN), other.call(DOWN))
        await asyncio.gather(one.gate.tell(), other.gate.tell())
    off = (await store.endpoint_settings.read("default", HERE))["disabled"]
    assert "failures" == off["by"]
    assert "the last error was ConnectError: https://a.example/: cannot connect: refused" in off["reason"]
    (queue,) = [queue for queue in await store.queues.list("default") if queue["name"] == "callbacks"]
    assert 1 == queue["queued"]
    one.old()
    assert isinstance(await one.enter(), Failed)


# ---------------------------------------------------------------- Redis


async def test_calls_go_on_while_redis_is_away(made: Callable[..., Process], monkeypatch: pytest.MonkeyPatch) -> None:
    """What was known stands; what was counted is told when it is back, once."""
    process = made()
    await process.call(DONE)

    async def away(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("Redis did not answer")

    with monkeypatch.context() as patched:
        patched.setattr(process.store.scripts, "call", away)
        patched.setattr(process.store.scripts, "command", away)
        process.old()
        await process.call(DONE)
        with pytest.raises(StoreUnavailable):
            await process.gate.tell()
        await process.call(DONE)
        with pytest.raises(StoreUnavailable):
            await process.gate.tell()
    await process.gate.tell()
    assert 3 == (await process.store.traffic.one("default", HERE))[0].succeeded


async def test_a_process_that_never_reached_redis_calls(
    made: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not known keeps nobody back."""
    process = made()

    async def away(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("Redis did not answer")

    with monkeypatch.context() as patched:
        patched.setattr(process.store.scripts, "command", away)
        assert isinstance(await process.enter(), Visit)


async def test_what_was_not_called_for_long_is_forgotten(made: Callable[..., Process]) -> None:
    """A host for each call cannot fill the process."""
    process = made()
    await process.call(DONE)
    await process.gate.tell()
    assert process.gate.spots
    (here,) = process.gate.spots.values()
    here.used_at = -10_000.0
    await process.gate.tell()
    assert {} == process.gate.spots
