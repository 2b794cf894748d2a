"""
Judges a round by Jepsen's total-queue rule: all that was taken in is done, nothing else, and what ran twice
has a reason.

Owns the rules; refuses to know servers and processes: it is given the history, and every task that Redis holds at the
end. The fact to know: a duplicate is explained by what the history has at that time, a process that died with the run
or an outage; one that nothing explains is a finding, as is a loss.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

from tests.chaos.clients import SCHEDULE
from tests.chaos.history import Event

LAG_SECONDS = 5.0  # how long after an outage, or after Redis knew it, something may still be noted
COMES_BACK = ("RuntimeError", "Defer", "failed", "deferred")  # ends of runs after which another one is due
MAY_FAIL = ("chaos.crash", "chaos.poison")


@dataclass(slots=True)
class Final:
    """A task as Redis holds it at the end."""

    id: str
    state: str
    key: str = ""
    name: str = ""
    result: object = None
    error: str = ""
    callback_of: str = ""
    has_callback: bool = False


@dataclass(slots=True)
class Window:
    """A time in which something was away; *since* is from when on changes were lost with it (0: all; None: none)."""

    began: float
    ended: float
    name: str
    since: float | None = None


@dataclass(slots=True)
class Loss:
    """What Redis lost with a fault: *many* that had been answered, within so many *seconds*."""

    name: str
    many: int
    seconds: float


@dataclass(slots=True)
class Verdict:
    """What was found; *findings* is empty when all is well."""

    findings: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    duplicates: Counter[str] = field(default_factory=Counter)
    losses: list[Loss] = field(default_factory=list)


class Checker:
    """One round; `check` may be called once."""

    def __init__(self, events: list[Event], finals: list[Final]) -> None:
        self.events = events
        self.finals = {final.id: final for final in finals}
        self.verdict = Verdict()
        self.by: dict[str, list[Event]] = defaultdict(list)
        self.runs: dict[str, list[Event]] = defaultdict(list)
        self.ends: dict[str, Event] = {}
        for event in events:
            self.by[event.what].append(event)
            if event.what == "began":
                self.runs[event.task].append(event)
            elif event.what == "ended":
                self.ends[event.run] = event
        self.asked = {event.key: event for event in self.by["asked"]}
        self.windows = windows_of(events)

    def find(self, text: str) -> None:
        self.verdict.findings.append(text)

    def check(self) -> Verdict:
        self.check_taken()
        self.check_keys()
        for id_ in self.runs:
            self.check_runs(id_)
        for final in self.finals.values():
            if not final.callback_of:
                self.check_state(final)
        self.check_cancelled()
        self.check_callbacks()
        self.check_schedule()
        for event in self.by["refused"]:
            # A Redis that lost everything knows no handlers, until workers tell it again.
            if not any(w.since == 0 and w.began <= event.at <= w.ended + 2 * LAG_SECONDS for w in self.windows):
                self.find(f"a sound request was refused: {event.how}")
        counts = self.verdict.counts
        counts.update({name: len(self.by[name]) for name in ("asked", "taken", "began", "called", "died", "fault")})
        self.count_losses()
        return self.verdict

    # ------------------------------------------------------------ nothing lost, nothing made up

    def is_undone(self, at: float) -> bool:
        """Whether what was noted at *at* may have been lost with what Redis had not written."""
        return any(w.since is not None and w.since <= at <= w.began + LAG_SECONDS for w in self.windows)

    def count_losses(self) -> None:
        """What was answered and is nowhere was lost with the next fault that loses something."""
        gone = [one.at for one in self.by["taken"] if one.task not in self.finals]
        for window in self.windows:
            if window.since is not None:
                at = [one for one in gone if one <= window.began + 1]
                gone = gone[len(at) :]
                self.verdict.losses.append(Loss(window.name, len(at), at[-1] - at[0] if at else 0.0))

    def check_taken(self) -> None:
        """What was answered is there, and has ended."""
        for event in self.by["taken"]:
            final = self.finals.get(event.task)
            if final is None and (event.more or not self.is_undone(event.at)):
                safe = "was confirmed to be safe" if event.more else "was taken in"
                self.find(f"lost: {event.key} {safe} as {event.task}, and is nowhere")
        for final in self.finals.values():
            if final.state not in ("succeeded", "failed", "cancelled", "expired"):
                self.find(f"lost: {final.id} ({final.key or final.name}) is {final.state} and never ends")

    def check_keys(self) -> None:
        """A key that nobody asked for has no task, and any other has one."""
        tasks: dict[str, dict[str, float]] = defaultdict(dict)
        for event in (*self.by["taken"], *self.by["began"]):
            tasks[event.key].setdefault(event.task, event.at)
        for final in self.finals.values():
            if final.key:
                tasks[final.key].setdefault(final.id, 0.0)
        for key, ids in tasks.items():
            if key not in self.asked and not key.startswith(SCHEDULE):
                self.find(f"unexpected: nobody asked for {key}, which is {sorted(ids)}")
            # After a loss the same key may be taken in anew.
            lasting = [id_ for id_ in ids if id_ in self.finals or not self.is_undone(ids[id_])]
            if len(lasting) > 1:
                self.find(f"unexpected: {key} was taken in more than once: {sorted(lasting)}")

    # ------------------------------------------------------------ each once, or with a reason

    def check_runs(self, id_: str) -> None:
        for before, after in pairwise(self.runs[id_]):
            end = self.ends.get(before.run)
            if end is not None and end.at <= after.at and end.how in COMES_BACK:
                continue
            reason = self.reason(before, end, after)
            if reason:
                self.verdict.duplicates[reason] += 1
            else:
                told = f"ended {end.how} after {end.at - before.at:.3f} s" if end else "never ended"
                times = f"ran at {before.at:.3f}, {told}, and again at {after.at:.3f}"
                self.find(f"duplicate without a reason: {id_} ({before.key}) {times}")

    def reason(self, before: Event, end: Event | None, after: Event) -> str:
        """Why the run *before* was worth nothing; empty when nothing in the history says so."""
        last = after.at if end is None else min(after.at, end.at + LAG_SECONDS)
        for died in self.by["died"]:
            # A call of a URL does not say which worker makes it.
            is_its_own = not before.pids or set(before.pids) & set(died.pids)
            if is_its_own and before.at - 1 <= died.at <= after.at:
                return died.name
        for window in self.windows:
            is_before = window.since is not None and window.since <= last
            if (window.began <= last or is_before) and window.ended + LAG_SECONDS >= before.at:
                return window.name
        return ""

    # ------------------------------------------------------------ the end agrees

    def check_state(self, final: Final) -> None:
        self.verdict.counts[final.state] += 1
        ends = [self.ends[run.run].how for run in self.runs[final.id] if run.run in self.ends]
        wanted = {"key": final.key} if not final.name else final.key
        if final.state == "succeeded" and final.result != wanted:
            self.find(f"{final.id} ({final.key}) has another's result: {final.result!r}")
        if final.state == "succeeded" and "done" not in ends:
            self.find(f"{final.id} ({final.key}) has succeeded, and no run of it did")
        if final.state == "failed" and (final.name not in MAY_FAIL or final.error != "worker_lost"):
            self.find(f"{final.id} ({final.key}) has failed: {final.error}")
        if final.state == "cancelled" and not any(one.task == final.id for one in self.by["cancelling"]):
            self.find(f"{final.id} ({final.key}) was cancelled by nobody")

    def check_cancelled(self) -> None:
        """What was answered as cancelled stays so, and does not run any more."""
        for event in self.by["cancelled"]:
            final = self.finals.get(event.task)
            if self.is_undone(event.at) or final is None:
                continue
            if final.state != "cancelled":
                self.find(f"{event.task} was answered as cancelled, and has {final.state}")
            for run in self.runs[event.task]:
                if run.at > event.at:
                    self.find(f"{event.task} ran after it was answered as cancelled")

    def check_callbacks(self) -> None:
        """Every end was told, as what it is; each time under one id."""
        called: dict[str, list[Event]] = defaultdict(list)
        for event in self.by["called"]:
            called[event.task].append(event)
        for final in self.finals.values():
            if not final.has_callback:
                continue
            told = called[final.id]
            if final.state not in {one.how for one in told}:
                self.find(f"the end of {final.id} ({final.key}) was never told to its callback")
            if len({one.key for one in told}) > 1 and not any(window.since is not None for window in self.windows):
                self.find(f"the end of {final.id} ({final.key}) was told as several")

    def check_schedule(self) -> None:
        """Each second from the first to the last has its task."""
        keys = [final.key for final in self.finals.values() if final.key.startswith(SCHEDULE)]
        moments = sorted(key.partition("@")[2] for key in keys)
        seconds = [moment_seconds(moment) for moment in moments]
        self.verdict.counts["occurrences"] = len(seconds)
        for one, following in pairwise(seconds):
            if following != one + 1:
                self.find(f"of the schedule, {following - one - 1} occurrences are missing after {one}")


def moment_seconds(moment: str) -> int:
    """The time of an occurrence, in seconds since the epoch."""
    return round(datetime.fromisoformat(moment).timestamp())


def windows_of(events: list[Event]) -> list[Window]:
    """Times of outages, which explain that a report or a heartbeat did not come through."""
    open_, windows = dict[str, Window](), list[Window]()
    for event in events:
        if event.what == "fault" and isinstance(event.more, dict):
            windows.append(Window(event.at, float("inf"), event.name, event.more.get("since")))
            open_[event.name] = windows[-1]
        elif event.what == "healed" and event.name in open_:
            open_.pop(event.name).ended = event.at
    return windows
