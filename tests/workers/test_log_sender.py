"""Lines on their way: together, bounded, again when there was no answer, and not after the end."""

from __future__ import annotations

import asyncio
import threading
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from service.attempts import MOST_BYTES, MOST_LINES
from service.errors import StoreUnavailable
from service.store.attempts import LogNote
from workers import log_sender
from workers.log_sender import LogSender, Unsent

DEADLINE_SECONDS = 60.0


class Redis:
    """Stands where the store is: answers what it is told to, and remembers what came."""

    def __init__(self) -> None:
        self.calls: list[list[LogNote]] = []
        self.answers: list[bytes | Exception] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.attempts = self
        self.tasks = SimpleNamespace(clock=SimpleNamespace(offset_ms=0))

    async def note_log(self, _shard: int, notes: list[LogNote]) -> bytes:
        self.calls.append(notes)
        await self.may_answer.wait()
        answer = self.answers.pop(0) if self.answers else b"1" * len(notes)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def texts(self) -> list[list[str]]:
        """The lines of each call."""
        return [[orjson.loads(line)[2] for note in notes for line in note.lines] for notes in self.calls]


@pytest.fixture
def redis() -> Redis:
    return Redis()


@pytest.fixture
def sender(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> LogSender:
    monkeypatch.setattr(log_sender, "PAUSE_SECONDS", 0.001)
    store: Any = redis
    return LogSender(store, 0)


def attempt(id_: bytes = b"1" * 16) -> Any:
    return SimpleNamespace(task=SimpleNamespace(id=id_, token=b"t" * 12, namespace="default"), log=None)


async def idle(sender: LogSender) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while sender.sender is not None:
            await asyncio.wait([sender.sender])


async def test_the_first_line_goes_at_once_and_the_next_ones_together(redis: Redis, sender: LogSender) -> None:
    """What is said while a call is in flight shares the next one, with all attempts."""
    one, two = attempt(), attempt(b"2" * 16)
    redis.may_answer.clear()
    sender.of(one)(0, "info", "a")
    await asyncio.sleep(0)
    sender.of(one)(0, "info", "b")
    sender.of(two)(0, "info", "c")
    redis.may_answer.set()
    await idle(sender)
    assert [["a"], ["b", "c"]] == redis.texts
    assert [1, 0] == [note.first for note in redis.calls[1]]


async def test_a_short_attempt_needs_no_call(redis: Redis, sender: LogSender) -> None:
    """Its lines go with its report; nothing is said after its end."""
    one = attempt()
    say = sender.of(one)
    say(0, "info", "a")
    sender.close(one)
    say(0, "info", "too late")
    await idle(sender)
    assert [] == redis.calls
    assert b'\0\0\0\0[0,"info","a"]\n' == one.log.batch()


async def test_what_is_in_flight_when_the_attempt_ends_goes_with_the_report_too(
    redis: Redis, sender: LogSender
) -> None:
    """Which of the two comes first is not known; the numbers keep it from being kept twice."""
    one = attempt()
    redis.may_answer.clear()
    sender.of(one)(0, "info", "a")
    await asyncio.sleep(0)
    sender.close(one)
    assert b'\0\0\0\0[0,"info","a"]\n' == one.log.batch()
    redis.may_answer.set()
    await idle(sender)


async def test_lines_are_sent_again_until_redis_has_them(redis: Redis, sender: LogSender) -> None:
    """Redis was away for two calls."""
    redis.answers = [StoreUnavailable("away"), StoreUnavailable("away")]
    one = attempt()
    sender.of(one)(0, "info", "a")
    await idle(sender)
    assert [["a"]] * 3 == redis.texts
    assert b"" == one.log.batch()


async def test_a_lost_lease_ends_the_log(redis: Redis, sender: LogSender) -> None:
    """The attempt is somebody else's by now."""
    redis.answers = [b"0"]
    one = attempt()
    sender.of(one)(0, "info", "a")
    await idle(sender)
    sender.of(one)(0, "info", "b")
    await idle(sender)
    assert [["a"]] == redis.texts


async def test_a_line_from_another_thread_is_sent_from_the_loop(redis: Redis, sender: LogSender) -> None:
    """Also the first one."""
    one = attempt()
    say = sender.of(one)
    await asyncio.to_thread(say, 0, "info", "a")
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not redis.calls:
            await asyncio.sleep(0.001)
    await idle(sender)
    assert [["a"]] == redis.texts


async def test_four_threads_lose_no_line(redis: Redis, sender: LogSender) -> None:
    """Each line once, those of a thread in their order, with numbers that have no gap."""
    one = attempt()
    say = sender.of(one)

    def speak(name: str) -> None:
        for number in range(40):
            say(0, "info", f"{name}{number}")

    threads = [threading.Thread(target=speak, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    await asyncio.sleep(0)
    await idle(sender)
    said = [text for call in redis.texts for text in call]
    assert sorted(f"{name}{number}" for name in "abcd" for number in range(40)) == sorted(said)
    for name in "abcd":
        assert [f"{name}{number}" for number in range(40)] == [text for text in said if text[0] == name]
    notes = [note for notes in redis.calls for note in notes]
    assert all(one.first + len(one.lines) == two.first for one, two in pairwise(notes))


async def test_a_call_is_bounded(redis: Redis, sender: LogSender) -> None:
    """A thousand attempts that log their fill go in several calls, each once."""
    for number in range(300):
        say = sender.of(attempt(number.to_bytes(16, "big")))
        for _ in range(5):
            say(0, "info", "x" * 6000)
    await idle(sender)
    assert 300 == sum(map(len, redis.calls))
    for notes in redis.calls:
        assert len(notes) <= 128
        assert sum(len(line) for note in notes for line in note.lines) <= (1 << 20) + MOST_BYTES


def test_only_what_would_be_kept_is_held() -> None:
    """A handler that says a million lines while Redis is away costs 32 KiB."""
    unsent = Unsent()
    for number in range(1000):
        unsent.add(b"%d" % number)
    assert (MOST_LINES, 1000 - MOST_LINES, b"999") == (len(unsent.lines), unsent.first, unsent.lines[-1])
    for _ in range(10):
        unsent.add(b"x" * 8000)
    assert (4, 32_000, 1006) == (len(unsent.lines), unsent.size, unsent.first)
    unsent.note(1008)
    assert (2, 16_000, 16_000) == (len(unsent.lines), unsent.size, unsent.noted_bytes)
    unsent.note(5)
    assert 1008 == unsent.first
