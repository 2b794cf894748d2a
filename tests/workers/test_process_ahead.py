"""Short calls that are sent to executors ahead: whatever becomes of one, the others run once, and soon."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.workers.crews import Crew, noted, until
from workers.context import Context
from workers.outcome import NOT_BEGUN, Cancelled, Crashed, Failed, Outcome, Succeeded
from workers.pools.dealer import MOST_DEPTH


async def hurried(crew: Crew) -> Crew:
    """*crew* with all its executors forked, and sure that calls are short."""
    await asyncio.gather(*(crew.call("child.sleep", seconds=0.05) for _ in range(crew.pool.size)))
    hurry(crew)
    return crew


def hurry(crew: Crew) -> None:
    for _ in range(200):
        crew.pool.dealer.note(0.0001)
    assert MOST_DEPTH == crew.pool.dealer.depth


def start_notes(crew: Crew, path: Path, many: int) -> list[asyncio.Task[Outcome]]:
    return [crew.start("child.note", path=str(path), word=str(number)) for number in range(many)]


def words(path: Path) -> Counter[str]:
    return Counter(path.read_text().split()) if path.exists() else Counter()


def ran_once(outcomes: Sequence[Outcome]) -> Counter[str]:
    """What the file of notes holds when those that succeeded, and no others, ran once."""
    return Counter(str(number) for number, outcome in enumerate(outcomes) if isinstance(outcome, Succeeded))


async def test_short_calls_are_sent_several_at_once(hire, tmp_path):
    """One frame carries them; each still ends by itself."""
    crew = await hurried(hire(1))
    [line] = crew.pool.brood.lines.values()
    before = line.sent
    calls = start_notes(crew, tmp_path / "notes", MOST_DEPTH)
    while line.sent == before:
        await asyncio.sleep(0)
    assert before + MOST_DEPTH == line.sent
    outcomes = await asyncio.gather(*calls)
    assert [Succeeded(f'"{number}"'.encode()) for number in range(MOST_DEPTH)] == outcomes


async def test_a_crash_costs_one_of_the_calls_sent_at_once(hire, tmp_path):
    """Those before it keep their results, those behind it run elsewhere, none twice."""
    crew = await hurried(hire(1))
    calls = start_notes(crew, tmp_path / "notes", 5)
    crash = crew.start("child.exit", code=3)
    calls += start_notes(crew, tmp_path / "notes", 5)
    assert isinstance(await crash, Crashed)
    assert all(isinstance(outcome, Succeeded) for outcome in await asyncio.gather(*calls))
    assert Counter({str(number): 2 for number in range(5)}) == words(tmp_path / "notes")


async def test_calls_behind_one_that_hangs_in_c_run_elsewhere(hire, tmp_path):
    """Though it hears nothing, what it has not begun is taken from it; its limit ends it alone."""
    crew = await hurried(hire(2))
    hang = crew.start("child.deaf", timeout=5, started=str(tmp_path / "pid"))
    calls = start_notes(crew, tmp_path / "notes", 20)
    outcomes = await asyncio.gather(*calls)
    assert not hang.done()
    assert all(isinstance(outcome, Succeeded) or outcome == Cancelled(NOT_BEGUN) for outcome in outcomes)
    assert ran_once(outcomes) == words(tmp_path / "notes")
    assert isinstance(await hang, Failed)


async def test_a_hard_limit_spares_the_calls_behind(hire, tmp_path):
    """The executor is killed for one call; those that it had not begun are taken back before."""
    crew = await hurried(hire(1))
    spin = crew.start("child.spin", timeout=0.03, started=str(tmp_path / "pid"))
    calls = start_notes(crew, tmp_path / "notes", 3)
    outcomes = await asyncio.gather(spin, *calls)
    assert isinstance(outcomes[0], Failed)
    assert "TimeLimitExceeded" == outcomes[0].error["type"]
    for number, outcome in enumerate(outcomes[1:]):
        assert outcome in (Succeeded(f'"{number}"'.encode()), Cancelled(NOT_BEGUN))
        assert isinstance(outcome, Succeeded) == words(tmp_path / "notes")[str(number)]


async def test_a_call_that_is_cancelled_before_it_begins_never_runs(hire, tmp_path):
    """Also when it has been sent to an executor already."""
    crew = await hurried(hire(1))
    first = crew.start("child.spin", started=str(tmp_path / "pid"))
    ctx = Context(id="0" * 26)
    second = crew.start("child.note", ctx=ctx, path=str(tmp_path / "notes"), word="second")
    await until(lambda: any(len(line.calls) == 2 for line in crew.pool.brood.lines.values()), "both are sent")
    await noted(tmp_path / "pid")
    ctx.stop(Cancelled("asked for"))
    assert Cancelled("asked for") == await second
    first.cancel()
    assert isinstance(await crew.call("child.pid"), Succeeded)
    assert not words(tmp_path / "notes")


async def test_a_call_that_nobody_waits_for_is_ended_without_the_one_before_it(hire, tmp_path):
    """Its executor goes on."""
    crew = await hurried(hire(1))
    first = crew.start("child.sleep", seconds=0.2, started=str(tmp_path / "pid"))
    second = crew.start("child.note", path=str(tmp_path / "notes"), word="second")
    await noted(tmp_path / "pid")
    second.cancel()
    assert isinstance(await first, Succeeded)
    assert isinstance(await crew.call("child.pid"), Succeeded)
    assert not words(tmp_path / "notes")


async def test_the_soft_limit_finds_a_call_that_was_sent_behind_another(hire):
    """It is told when it runs, and its neighbours are not."""
    crew = await hurried(hire(1))
    calls = [crew.start("child.nothing"), crew.start("child.soft", soft=0.1), crew.start("child.nothing")]
    assert Succeeded(b'"tidied up"') == await calls[1]
    assert Succeeded(b"null") == await calls[0]
    assert await calls[2] in (Succeeded(b"null"), Cancelled(NOT_BEGUN))


@pytest.mark.parametrize("bounds", [{"max_tasks": 3}, {"max_memory_mb": 1}])
async def test_an_executor_takes_no_more_than_its_bounds_allow_however_many_it_was_sent(hire, tmp_path, bounds):
    """What it was sent beyond them runs in the next one."""
    crew = await hurried(hire(1, **bounds))
    pids = []
    for _ in range(4):
        hurry(crew)
        pids += await asyncio.gather(*(crew.call("child.pid") for _ in range(6)))
    ran = Counter(outcome.result_json for outcome in pids if isinstance(outcome, Succeeded))
    assert all(isinstance(outcome, Succeeded) or outcome == Cancelled(NOT_BEGUN) for outcome in pids)
    assert max(ran.values()) <= bounds.get("max_tasks", 1)


async def test_in_a_crowd_of_short_calls_that_crash_hang_and_are_cancelled_each_of_the_others_runs_once(hire, tmp_path):
    """No call is lost, none runs twice, and only the culprits crash."""
    crew = await hurried(hire(3, backoff_seconds=0))
    chance = random.Random(7)
    notes: list[asyncio.Task[Outcome]] = []
    others: list[tuple[str, asyncio.Task[Outcome]]] = []
    for number in range(600):
        kind = chance.choices(("note", "exit", "spin", "cancel"), (100, 2, 1, 3))[0]
        if kind == "exit":
            others.append((kind, crew.start("child.exit", code=1)))
        elif kind == "spin":
            others.append((kind, crew.start("child.spin", timeout=0.02)))
        elif kind == "cancel":
            others.append((kind, call := crew.start("child.nothing")))
            asyncio.get_running_loop().call_later(chance.random() / 100, call.cancel)
        notes.append(crew.start("child.note", path=str(tmp_path / "notes"), word=str(number)))
        if number % 40 == 0:
            await notes[-1]
            hurry(crew)
    outcomes = await asyncio.gather(*notes)
    assert ran_once(outcomes) == words(tmp_path / "notes")
    assert all(isinstance(outcome, Succeeded) or outcome == Cancelled(NOT_BEGUN) for outcome in outcomes)
    for kind, call in others:
        [outcome] = await asyncio.gather(call, return_exceptions=True)
        if kind == "exit":
            assert isinstance(outcome, Crashed) or outcome == Cancelled(NOT_BEGUN)
        elif kind == "spin":
            assert isinstance(outcome, Failed) or outcome == Cancelled(NOT_BEGUN)
    assert 0 == crew.pool.busy


async def test_an_executor_that_is_about_to_be_killed_is_sent_nothing_more(hire, tmp_path):
    """What comes after the limit has passed would die with it."""
    crew = await hurried(hire(1))
    spin = crew.start("child.deaf", timeout=0.5, started=str(tmp_path / "pid"))
    await noted(tmp_path / "pid")
    [line] = crew.pool.brood.lines.values()
    await until(lambda: line.calls[0].doom is not None, "its limit has passed")
    hurry(crew)
    [after] = start_notes(crew, tmp_path / "notes", 1)
    assert isinstance(await spin, Failed)
    assert await after in (Succeeded(b'"0"'), Cancelled(NOT_BEGUN))
    assert 2 == line.sent
