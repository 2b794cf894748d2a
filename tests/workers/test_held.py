"""The table through which a parent sees what its child holds, and processes that come and go without leaks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.held import NEVER, SIZED, HeldTable, Wanted
from workers.process import Process
from workers.slots import Slots


@pytest.fixture
def tables() -> Iterator[tuple[HeldTable, HeldTable]]:
    """(the parent's, the child's) view of one table."""
    parent = HeldTable(10)
    child = HeldTable(10, os.dup(parent.descriptor))
    yield parent, child
    parent.close()
    child.close()


def test_a_parent_sees_what_its_child_holds(tables: tuple[HeldTable, HeldTable]) -> None:
    """From before the handler starts until Redis knows the outcome."""
    parent, child = tables
    one, two = child.hold(b"1" * 16, b"t" * 12, 1000), child.hold(b"2" * 16, b"u" * 12, 2000)
    assert [(b"1" * 16, b"t" * 12, 1000), (b"2" * 16, b"u" * 12, 2000)] == [
        (held.id, held.token, held.deadline_ms) for held in parent.held()
    ]
    child.finish(one)
    assert [NEVER, 2000] == [held.deadline_ms for held in parent.held()], "what has finished overstays nothing"
    child.drop(one)
    child.drop(two)
    assert [] == parent.held()


def test_rows_are_used_again(tables: tuple[HeldTable, HeldTable]) -> None:
    parent, child = tables
    for _ in range(1000):
        rows = [child.hold(b"1" * 16, b"t" * 12, 1) for _ in range(10)]
        assert 0 == child.room
        assert 10 == len(parent.held())
        for row in rows:
            child.drop(row)
    assert [] == parent.held()


def test_a_table_outlives_its_child(tables: tuple[HeldTable, HeldTable]) -> None:
    """A child that was killed has had no time to clean up: its parent reads what it held."""
    parent, child = tables
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        child.hold(b"1" * 16, b"t" * 12, 1)
        os.write(writer, b"x")
        os.kill(os.getpid(), 9)
    os.read(reader, 1)
    os.waitpid(pid, 0)
    os.close(reader)
    os.close(writer)
    assert [b"1" * 16] == [held.id for held in parent.held()]


def test_beats_turns_and_names_cross_over(tables: tuple[HeldTable, HeldTable]) -> None:
    parent, child = tables
    assert (0, 0, []) == (child.beat_ms, parent.turn_ms, parent.handlers)
    parent.note_beat(5)
    child.turn(7)
    child.say_hello(["a", "b"])
    assert (5, 7, ["a", "b"]) == (child.beat_ms, parent.turn_ms, parent.handlers)


def test_more_names_than_fit_are_cut(tables: tuple[HeldTable, HeldTable]) -> None:
    """A worker of ten thousand long names still starts."""
    parent, child = tables
    child.say_hello([f"{n:0128}" for n in range(10_000)])
    assert 1000 < len(parent.handlers) < 10_000


def test_tasks_that_are_promised_count_as_held(tables: tuple[HeldTable, HeldTable]) -> None:
    """Two shards that ask at the same time do not share a slot or a row."""
    _, child = tables
    slots = Slots({"async": 8, "thread": 4, "url": 0}, {"thread": lambda: 1}, {}, child)
    assert (["async", "thread"], 10) == (slots.free_lanes, slots.free_rows)
    assert 3 == slots.free("thread"), "a thread that was given up still keeps its place"
    with slots.promised({"async": 8}):
        assert (["thread"], 2) == (slots.free_lanes, slots.free_rows)
    assert (8, 10) == (slots.free("async"), slots.free_rows)


async def test_fifty_crashes_of_a_process_leak_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No descriptor, no process, no memory that was shared."""
    monkeypatch.setenv("TASKPOST_REDIS_URL", "redis://127.0.0.1:1/0")
    process = Process(0, "w1", Wanted(False, 1, dict.fromkeys(SIZED, 1)), lambda *_: None)

    async def crash() -> None:
        await process.start()
        process.kill()
        assert -9 == await process.wait()
        assert [] == process.take_held()
        await asyncio.sleep(0)  # the end of the pipe is heard by the loop

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(3):
        await crash()
    before, children = descriptors(), Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    maps = Path("/proc/self/maps").read_text().count("(deleted)")
    for _ in range(50):
        await crash()
    async with asyncio.timeout(30):
        while descriptors() > before:
            await asyncio.sleep(0.01)
    assert children == Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    assert maps == Path("/proc/self/maps").read_text().count("(deleted)")
