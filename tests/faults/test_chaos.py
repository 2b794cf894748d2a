"""Chaos (`tests/chaos`): its checker finds what is wrong, and a round of it finds nothing. Long: `scripts/chaos`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.checker import Checker, Final, Verdict
from tests.chaos.history import Event, History, events_of
from tests.chaos.round import Plan, play

A, B, C = 11, 12, 13  # processes
SOUND = [
    Event(1.0, "asked", "k"),
    Event(1.1, "taken", "k", "T"),
    Event(2.0, "began", "k", "T", "1", pids=(A,)),
    Event(3.0, "ended", "k", "T", "1", "done"),
]
AGAIN = [Event(4.0, "began", "k", "T", "2", pids=(B,)), Event(5.0, "ended", "k", "T", "2", "done")]
SAFE = replace(SOUND[1], more=True)
CUT = Event(1.5, "fault", name="power_cut", more={"since": 1.05})
DONE = Final("T", "succeeded", "k", "chaos.add", "k")
OUTAGE = [Event(2.5, "fault", name="outage", more={}), Event(3, "healed", name="outage")]
SECONDS = [Final(n, "cancelled", f"every-second@2026-11-30T00:00:0{n}Z") for n in "13"]


def judged(events: list[Event], *finals: Final) -> Verdict:
    return Checker(sorted(events, key=lambda event: event.at), list(finals)).check()


@pytest.mark.parametrize(
    ("expected", "events", "finals"),
    [
        ("lost: k was taken in as T, and is nowhere", SOUND[:2], []),
        ("lost: k was confirmed to be safe", [SOUND[0], SAFE, CUT], []),
        ("lost: T (k) is queued and never ends", SOUND[:2], [Final("T", "queued", "k", "chaos.add")]),
        ("no run of it did", SOUND[:2], [DONE]),
        ("nobody asked for k", SOUND[1:], [DONE]),
        ("k was taken in more than once", [*SOUND, Event(6, "taken", "k", "U")], [DONE, replace(DONE, id="U")]),
        ("duplicate without a reason", [*SOUND, *AGAIN], [DONE]),
        ("duplicate without a reason", [*SOUND, *AGAIN, Event(2.5, "died", pids=(C,), name="another")], [DONE]),
        ("duplicate without a reason", [*SOUND, *AGAIN, Event(20, "fault", name="late", more={})], [DONE]),
        ("another's result", SOUND, [Final("T", "succeeded", "k", "chaos.add", "j")]),
        ("has failed", SOUND, [Final("T", "failed", "k", "chaos.add", error="RuntimeError")]),
        ("cancelled by nobody", SOUND, [Final("T", "cancelled", "k", "chaos.add")]),
        ("ran after it was answered as cancelled", [*SOUND, Event(1.5, "cancelled", "k", "T")], [DONE]),
        ("never told to its callback", SOUND, [Final("T", "succeeded", "k", "chaos.add", "k", has_callback=True)]),
        ("refused", [*SOUND, Event(1.2, "refused", how="?")], [DONE]),
        ("1 occurrences are missing", [], SECONDS),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found(expected: str, events: list[Event], finals: list[Final]) -> None:
    """Each breach of what is promised has its sentence."""
    assert any(expected in text for text in judged(events, *finals).findings)


@pytest.mark.parametrize(
    ("expected", "events", "finals"),
    [
        ("", SOUND, [DONE]),
        ("worker killed", [*SOUND, *AGAIN, Event(2.5, "died", pids=(A,), name="worker killed")], [DONE]),
        ("outage", [*SOUND, *AGAIN, *OUTAGE], [DONE]),
        ("", [*SOUND[:2], CUT], []),
    ],
)  # fmt: skip
def test_what_has_a_reason_is_none(expected: str, events: list[Event], finals: list[Final]) -> None:
    """A run that died with its process, a report that met an outage, what Redis lost within its bounds."""
    verdict = judged(events, *finals)
    assert [] == verdict.findings
    assert expected == "".join(verdict.duplicates)


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Of several processes, in the order of time."""
    history = History(tmp_path)
    history.note("died", pids=[A, B], name="killed", at=2.0)
    history.note("began", key="k", task="T", run="1", pids=[C], at=1.0)
    history.close()
    assert [
        Event(1.0, "began", "k", "T", "1", pids=(C,)),
        Event(2.0, "died", pids=(A, B), name="killed"),
    ] == events_of(tmp_path)


QUIET: dict[str, Any] = {
    "where": "single", "fsync": "always", "only": ("none",), "parts": ("web", "scheduler-0", "worker-0"),
}  # fmt: skip


@pytest.mark.full
@pytest.mark.parametrize(
    ("bug", "expected"),
    [
        ("dropped_finish", "never ends"),  # before its lease has; a duplicate without a reason, after that
        ("double_lease", "duplicate without a reason"),
        ("lost_requeue", "never ends"),
    ],
)
def test_a_planted_bug_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bug: str, expected: str) -> None:
    """Workers whose script has it are told on, though nobody did anything to them."""
    monkeypatch.setenv("CHAOS_PLANT", bug)
    plan = Plan(1, 3, **QUIET, per_second=30, handlers="tests.chaos.planted", patience_seconds=3)
    findings = play(plan, tmp_path).verdict.findings
    assert any(expected in text or "without a reason" in text for text in findings), findings


@pytest.mark.full
@pytest.mark.parametrize("seed", [1])
def test_a_round_of_chaos_has_no_finding(tmp_path: Path, seed: int) -> None:
    """Nothing is lost, nothing made up, and whatever ran twice has its reason in the history."""
    told = play(Plan(seed, 25, where="single", fsync="everysec", patience_seconds=240), tmp_path)
    print(told)
    assert [] == told.verdict.findings
    assert told.faults.total() > 0
    assert told.verdict.counts["taken"] > 100
