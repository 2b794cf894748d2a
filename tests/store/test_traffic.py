"""How endpoints answer, counted over processes; circuits that open, are probed by one, and close."""

from __future__ import annotations

import asyncio
from typing import Any

from service.store import Store
from service.store.traffic import MOST_ENDPOINTS, Circuit, Report

HERE = "https:a.example"
FIELD = f"default/{HERE}"


def report(**told: Any) -> Report:
    known = {"endpoint": FIELD, "flying": 0, "breaker_failures": 10, "breaker_ratio": 0.5}
    return Report(**{**known, "pause_ms": 60_000, "longest_pause_ms": 600_000, **told})


def failures(many: int, **told: Any) -> Report:
    return report(failed=many, streak=many, error="ConnectError: refused", times={"40": many}, **told)


async def test_calls_are_counted_over_processes(store: Store) -> None:
    """Rates and times of all of them together; calls in flight of each once."""
    await store.traffic.tell("one", 1, [report(flying=3, succeeded=90, times={"20": 90})])
    await store.traffic.tell("two", 1, [report(flying=2, succeeded=5, refused=1, times={"40": 6})])
    await store.traffic.tell("two", 2, [failures(4, flying=4)])
    health = (await store.traffic.health("default"))[HERE]
    assert (95, 1, 4, 7) == (health.succeeded, health.refused, health.failed, health.flying)
    assert 0.95 == health.success_rate
    assert (32.0, 1024.0) == (health.time_ms(0.5), health.time_ms(0.95))
    assert "ConnectError: refused" == health.error
    assert health.succeeded_ms
    assert health.failed_ms
    assert {} == await store.traffic.health("acme")
    assert (health, None) == await store.traffic.one("default", HERE)


async def test_a_report_that_is_sent_again_counts_once(store: Store) -> None:
    """Its answer was lost; the circuit opens by what happened, not by what was said twice."""
    for _ in range(2):
        heard = await store.traffic.tell("one", 1, [failures(6)])
    assert {} == heard.circuits
    assert 6 == (await store.traffic.health("default"))[HERE].failed


async def test_failures_in_a_row_open_a_circuit_for_all(store: Store) -> None:
    """Those of several processes together; an answer in between begins anew."""
    heard = await store.traffic.tell("one", 1, [failures(9)])
    assert {} == heard.circuits
    await store.traffic.tell("two", 1, [report(refused=1, times={"1": 1})])
    await store.traffic.tell("one", 2, [failures(9)])
    heard = await store.traffic.tell("two", 2, [failures(1)])
    assert "10 calls in a row failed" == heard.circuits[FIELD].reason
    assert heard.circuits == await store.traffic.circuits()
    assert list(heard.failing) == [FIELD]


async def test_half_of_the_calls_within_a_minute_open_it_too(store: Store) -> None:
    """Where answers and failures alternate; not below twenty calls, and not where every second one fails."""
    mixed = report(succeeded=5, failed=5, streak=1, error="e", times={"1": 10})
    for number in (1, 2):
        assert {} == (await store.traffic.tell("one", number, [mixed])).circuits
    heard = await store.traffic.tell("one", 3, [report(failed=1, streak=1, error="e", times={"1": 1})])
    assert "11 of 21 calls within a minute failed" == heard.circuits[FIELD].reason


async def test_a_breaker_can_be_switched_off(store: Store) -> None:
    assert {} == (await store.traffic.tell("one", 1, [failures(1000, breaker_failures=0)])).circuits


async def test_one_of_all_processes_probes(store: Store) -> None:
    """However many ask at once; who asks again with its token has it still."""
    await store.traffic.tell("one", 1, [failures(10, pause_ms=0)])
    answers = await asyncio.gather(*(store.traffic.probe("default", HERE, f"t{n}", 60_000) for n in range(20)))
    winners = [n for n, (is_ours, _) in enumerate(answers) if is_ours]
    assert 1 == len(winners)
    assert (await store.traffic.probe("default", HERE, f"t{winners[0]}", 60_000))[0]
    is_ours, until_ms = await store.traffic.probe("default", HERE, "other", 60_000)
    assert not is_ours
    assert until_ms > store.tasks.clock.now_ms() + 30_000


async def test_a_probe_whose_process_died_is_made_by_another(store: Store) -> None:
    """Once the time has passed for which it was taken."""
    await store.traffic.tell("one", 1, [failures(10, pause_ms=0)])
    assert (await store.traffic.probe("default", HERE, "dead", 0))[0]
    assert (await store.traffic.probe("default", HERE, "other", 60_000))[0]


async def test_a_probe_that_is_answered_closes_the_circuit(store: Store) -> None:
    """What else was answered does not, since it began before."""
    await store.traffic.tell("one", 1, [failures(10, pause_ms=0)])
    await store.traffic.probe("default", HERE, "t", 60_000)
    assert await circuit(store, report(succeeded=3, times={"1": 3}), 2)
    assert await circuit(store, report(succeeded=1, times={"1": 1}, probe="u", probed="well"), 3)
    assert not await circuit(store, report(succeeded=1, times={"1": 1}, probe="t", probed="well"), 4)
    assert not await circuit(store, failures(9), 5)
    assert (False, 0) == await store.traffic.probe("default", HERE, "v", 60_000)


async def test_each_probe_that_fails_doubles_the_pause(store: Store) -> None:
    """Up to a bound; one that came to nothing, as of a worker that stopped, leaves it."""
    await store.traffic.tell("one", 1, [failures(10, pause_ms=0)])
    pauses = []
    for number, probed in enumerate(("badly", "badly", "", "badly"), 2):
        await store.traffic.probe("default", HERE, f"t{number}", 0)
        told = failures(1, probe=f"t{number}", probed=probed, pause_ms=1000, longest_pause_ms=5000)
        found = await circuit(store, told, number)
        assert found
        pauses.append(round((found.until_ms - store.tasks.clock.now_ms()) / 1000))
        await forget_until(store, found)
    assert [2, 4, 4, 5] == pauses


async def test_a_test_that_is_answered_closes_the_circuit(store: Store) -> None:
    """It is a probe that somebody asked for."""
    await store.traffic.tell("one", 1, [failures(10)])
    assert not await circuit(store, report(succeeded=1, times={"1": 1}, ends=True), 2)


async def test_an_endpoint_is_mended_by_hand(store: Store) -> None:
    """Its circuit closes, and its failures are counted from now on."""
    heard = await store.traffic.tell("one", 1, [failures(10)])
    assert heard.failing
    assert await store.traffic.mend("default", HERE)
    assert not await store.traffic.mend("default", HERE)
    assert not await store.traffic.mend("default", "https:unknown.example")
    assert {} == await store.traffic.circuits()
    assert None is (await store.traffic.one("default", HERE))[0].failing_ms


async def test_endpoints_are_remembered_up_to_a_bound(store: Store) -> None:
    """A host for each call cannot fill Redis; those called longest ago go."""
    for start in range(0, MOST_ENDPOINTS + 300, 100):
        told = [report(endpoint=f"default/https:{n}.example", succeeded=1) for n in range(start, start + 100)]
        await store.traffic.tell("one", start + 1, told)
    assert MOST_ENDPOINTS + 100 >= len(await store.traffic.health("default"))


async def circuit(store: Store, told: Report, number: int) -> Circuit | None:
    """The circuit after *told*."""
    return (await store.traffic.tell("one", number, [told])).circuits.get(FIELD)


async def forget_until(store: Store, found: Circuit) -> None:
    """As if the pause had passed."""
    import msgspec

    from service.store import keys

    found.until_ms = 0
    await store.scripts.command("HSET", keys.CIRCUITS, FIELD, msgspec.json.encode(found))
