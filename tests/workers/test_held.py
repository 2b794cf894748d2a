"""The table through which a parent sees what its child holds, and processes that come and go without leaks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.held import NEVER, SIZED, STATUS, STATUS_BYTES, HeldTable, Running, Wanted, label
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


def test_what_is_wanted_and_how_it_is_cross_over(tables: tuple[HeldTable, HeldTable]) -> None:
    """Each side reads what the other wrote last; nothing before."""
    parent, child = tables
    assert (None, None) == (child.wanted, parent.status())
    wanted = Wanted(is_quiet=True, drain_seconds=2.5, sizes={"url": 1, "async": 20_000, "thread": 3, "process": 0})
    before = child.wanted_bytes
    parent.want(wanted)
    assert before != child.wanted_bytes
    assert wanted == child.wanted
    for number in range(3):
        child.tell({"number": number, "long": "x" * number})
        assert {"number": number, "long": "x" * number} == parent.status()


def test_a_status_that_is_too_long_or_half_written_is_not_read(tables: tuple[HeldTable, HeldTable]) -> None:
    """What was told before stands, or nothing is known for a moment."""
    parent, child = tables
    child.tell({"a": 1})
    child.tell({"a": "x" * STATUS_BYTES})
    assert {"a": 1} == parent.status()
    at = child.bytes - STATUS_BYTES
    number, length = STATUS.unpack_from(child.memory, at)
    STATUS.pack_into(child.memory, at, number + 1, length)  # a child that was killed while it wrote
    assert parent.status() is None


def test_a_parent_reads_what_runs(tables: tuple[HeldTable, HeldTable]) -> None:
    """Name, queue, lane, attempt and start; what has finished runs no more; a long name is cut, in whole characters."""
    parent, child = tables
    child.hold(b"1" * 16, b"t" * 12, 500, label("email:send", "mail", "process", 3, 1_795_305_600_000))
    child.hold(b"2" * 16, b"t" * 12, 2000, label("POST https://example.com/" + "ü" * 200, "q" * 64, "url", 70_000, 1))
    row = child.hold(b"3" * 16, b"t" * 12, 500, label("done", "mail", "async", 1, 1))
    child.finish(row)
    one, two = parent.running(1500)
    assert Running(b"1" * 16, "email:send", "mail", "process", 3, 1_795_305_600_000, 1000) == one
    assert ("POST https://example.com/" + "ü" * 51, "q" * 64, "url", 65_535, 0) == (
        two.name, two.queue, two.lane, two.attempt, two.overdue_ms
    )  # fmt: skip
    child.drop(row)
    child.hold(b"4" * 16, b"t" * 12, 500, label("a", "b", "async", 1, 1))
    assert ["a"] == [task.name for task in parent.running(0) if task.id == b"4" * 16], "a row that was longer before"


def test_a_full_table_takes_no_more(tables: tuple[HeldTable, HeldTable]) -> None:
    """Nothing is written beyond its rows."""
    _, child = tables
    for _ in range(10):
        child.hold(b"1" * 16, b"t" * 12, 1)
    with pytest.raises(IndexError, match="all 10 rows"):
        child.hold(b"2" * 16, b"t" * 12, 1)


def test_slots_follow_a_new_size(tables: tuple[HeldTable, HeldTable]) -> None:
    """Larger at once; smaller as soon as enough has ended; a lane that had none gets some."""
    _, child = tables
    slots = Slots({"async": 8, "thread": 0}, {}, {}, child)
    slots.used["async"] = 6
    slots.resize({"async": 4, "thread": 2, "url": 0, "process": 0})
    assert ({"async": 4, "thread": 2}, ["thread"], -2) == (slots.capacity, slots.free_lanes, slots.free("async"))
    slots.resize({"async": 0, "thread": 0})
    assert [] == slots.free_lanes
    slots.used["async"] -= 6
    slots.resize({"async": 1})
    assert ["async"] == slots.free_lanes
