"""`decide`: what an outcome means for its task. Pure, so every case is a table row."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import orjson
import pytest

from service.ids import new_ids
from service.outcome import SHUTDOWN, Accepted, Cancelled, Deferred, Failed, Outcome, Succeeded, failed
from service.settings import Settings
from service.store.decisions import Again, Decision, HandOver, decide
from service.store.endings import Ending
from service.task import Leased, options_of, pack_header
from service.ties import Ties

NOW_MS = 1_800_000_000_000
ERROR = {"type": "ValueError", "message": "no", "traceback": "…"}


def leased(attempt: int = 1, crashes: int = 0, *, age_ms: int = 0, **submission: Any) -> Leased:
    """A task that was submitted *age_ms* ago and leased just now."""
    [id_] = new_ids(0, 1, NOW_MS - age_ms)
    named = {"name": "a", **submission}
    return Leased(id_, b"t" * 12, b"", named, "default", "default", 5, "async", attempt, crashes, NOW_MS)


def expiring(in_ms: int, attempt: int = 1) -> Leased:
    """A task that expires in so many ms."""
    task, ties = leased(attempt), Ties(expires_ms=NOW_MS + in_ms)
    task.raw = pack_header(state=b"W", priority=5, lane="async", time_ms=0, max_crashes=3, queue="mail", ties=ties)
    return task


def decided(outcome: Outcome | Accepted, task: Leased | None = None, chance: float = 0.5, **options: Any) -> Decision:
    chosen = options_of({}, None, Settings()) | options
    return decide(task or leased(), outcome, chosen, NOW_MS, "w1", lambda: chance)


def row_of(decision: Decision) -> Any:
    return orjson.loads(decision.row or b"null")


def test_a_first_attempt_that_succeeds_leaves_no_row() -> None:
    """It is in the record; a million of them would double the memory."""
    decision = decided(Succeeded(b"5"))
    assert isinstance(decision, Ending)
    assert ("succeeded", b"5", None) == (decision.state, decision.result, decision.row)


@pytest.mark.parametrize("task", [leased(2), leased(1, crashes=1)])
def test_a_later_success_is_noted_with_its_attempt(task: Leased) -> None:
    """The list of attempts then ends with it."""
    assert ("succeeded", task.attempt) == ((row := row_of(decided(Succeeded(b"5"), task)))["outcome"], row["attempt"])


def test_what_an_endpoint_answered_is_noted() -> None:
    """Of a first attempt that succeeded in the outcome of the task, unless all is kept of it; else in its row."""
    brief, whole = {"status": 200, "total_ms": 1.5}, {"status": 200, "times": [None] * 6}
    assert (None, brief) == attrgetter("row", "http")(decided(Succeeded(b"5", brief)))
    assert whole == row_of(decided(Succeeded(b"5", whole)))["http"]


@pytest.mark.parametrize(
    ("attempt", "retries", "expected"), [(1, 3, True), (3, 3, True), (4, 3, False), (1, 0, False), (4, 1, False)]
)
def test_a_failure_is_retried_while_retries_are_left(attempt: int, retries: int, expected: bool) -> None:
    """`retries` counts what comes after the first attempt."""
    decision = decided(Failed(ERROR), leased(attempt), retries=retries)
    assert expected == isinstance(decision, Again)
    assert ("retried" if expected else "failed") == row_of(decision)["outcome"]
    assert ERROR == row_of(decision)["error"]


@pytest.mark.parametrize(("attempt", "expected_ms"), [(1, 1000), (2, 2000), (3, 4000), (13, 3_600_000)])
def test_the_default_backoff_doubles_with_full_jitter(attempt: int, expected_ms: int) -> None:
    """From one second to an hour; chance decides how much of it."""
    for chance in (0.0, 0.25):
        decision = decided(Failed(ERROR), leased(attempt), chance, retries=99)
        assert isinstance(decision, Again)
        assert (b"R", int(expected_ms * chance)) == (decision.kind, decision.delay_ms)
        assert NOW_MS + decision.delay_ms == row_of(decision)["retry_ms"]


def test_a_handler_chooses_its_own_delay() -> None:
    """`Retry(after=…)` replaces the backoff's."""
    decision = decided(Failed(ERROR, after_seconds=2.5))
    assert isinstance(decision, Again)
    assert 2500 == decision.delay_ms


def test_a_failure_for_good_ends_the_task_whatever_is_left() -> None:
    decision = decided(failed("Fail", "no", retry=False), retries=9)
    assert isinstance(decision, Ending)
    assert "failed" == decision.state


@pytest.mark.parametrize(("age_ms", "expected"), [(57_000, True), (59_000, False)])
def test_no_retry_comes_later_than_the_whole_time_allows(age_ms: int, expected: bool) -> None:
    """Sixty seconds from when it was first due, the delay of the retry included; it fails with its own error."""
    decision = decided(Failed(ERROR, after_seconds=2), leased(age_ms=age_ms), retry_for_seconds=60)
    assert expected == isinstance(decision, Again)
    assert ERROR == row_of(decision)["error"]


def test_the_whole_time_counts_from_when_it_was_due() -> None:
    """A task that waited an hour for its `delay_seconds` has all of it left."""
    task = leased(age_ms=3_600_000, delay_seconds=3600)
    assert isinstance(decided(Failed(ERROR, after_seconds=2), task, retry_for_seconds=60), Again)


def test_deferring_spends_no_attempt() -> None:
    """However many there were."""
    decision = decided(Deferred(1.5, "busy"), leased(9), retries=0)
    assert isinstance(decision, Again)
    assert (b"D", 1500) == (decision.kind, decision.delay_ms)
    assert ("deferred", "busy") == ((row := row_of(decision))["outcome"], row["error"]["message"])


def test_deferring_beyond_the_whole_time_fails_with_the_reason() -> None:
    decision = decided(Deferred(61, "the moon is full"), retry_for_seconds=60)
    assert isinstance(decision, Ending)
    assert decision.error is not None
    assert "RetryTimeExceeded" == decision.error["type"]
    assert "the moon is full" in decision.error["message"]


def test_a_shutdown_hands_back_and_a_cancel_ends() -> None:
    """The same outcome, for two reasons."""
    handed = decided(Cancelled(SHUTDOWN), leased(3))
    assert isinstance(handed, Again)
    assert (b"B", 0, None) == (handed.kind, handed.delay_ms, handed.row)
    ended = decided(Cancelled("cancellation was asked for"))
    assert isinstance(ended, Ending)
    assert ("cancelled", "cancelled") == (ended.state, row_of(ended)["outcome"])


@pytest.mark.parametrize(
    ("options", "last_ms"),
    [
        ({"retry_for_seconds": 60, "timeout_seconds": 30}, NOW_MS + 60_000),
        ({"retry_for_seconds": 0, "timeout_seconds": 30}, NOW_MS + 30_000),
    ],
)
def test_an_endpoint_that_takes_over_has_all_of_the_tasks_time(options: dict[str, Any], last_ms: int) -> None:
    """And never less than an attempt has."""
    assert HandOver(90_000, last_ms) == decided(Accepted(90), **options)


def test_a_row_says_when_and_where() -> None:
    row = row_of(decided(Failed(ERROR), leased(2)))
    assert {"attempt": 2, "started_ms": NOW_MS, "finished_ms": NOW_MS, "worker": "w1"} == {
        name: row[name] for name in ("attempt", "started_ms", "finished_ms", "worker")
    }


@pytest.mark.parametrize("outcome", [Failed(ERROR, after_seconds=60), Deferred(60)])
def test_a_task_that_would_come_back_expired_fails(outcome: Failed | Deferred) -> None:
    """What it failed with is told, which an expiry would not."""
    assert isinstance(decided(outcome, expiring(60_001)), Again)
    ended = decided(outcome, expiring(60_000))
    assert isinstance(ended, Ending)
    assert "failed" == ended.state
    told = f"{ended.row!r}{ended.error}"
    assert "or it expires, at 2027-01-15T08:01:00.000Z" in told


def test_an_endpoint_may_finish_what_has_expired() -> None:
    """It has begun."""
    assert isinstance(decided(Accepted(60), expiring(1)), HandOver)
