"""
Slow attempts, as a worker process sees them: which are slow, where their time went, and telling of them.

An attempt that is not slow costs one comparison. Of the others the slowest of each minute are kept here until they are
told, every two seconds in one call for all; a process that is killed loses what it saw in that time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections import Counter
from time import monotonic
from typing import TYPE_CHECKING

from service.errors import TaskpostError
from service.figures import SLOW
from service.ids import created_ms, encode_id
from service.settings import Settings
from service.slow import MOST_A_MINUTE, SlowAttempt, Threshold, slowest, threshold
from service.store import Store
from service.store.slow import Key
from service.store.statistics import MINUTE_MS
from service.store.tallies import name_of, tally_of
from service.task import Leased
from workers.usual import Usual

if TYPE_CHECKING:
    from workers.context import Context
    from workers.registry import Registry
    from workers.run import Attempt

log = logging.getLogger("taskpost.worker")

TELL_SECONDS = 2.0
SAY_SECONDS = 60.0  # from one line about a name to the next
MOST_SAID = 100  # names that have lines at a time
MOST_PLACES = 200  # namespaces and minutes of which rows wait while Redis is away
MOST_ROWS, MOST_COUNTS = 100, 500  # of a call
Batch = tuple[list[tuple[str, SlowAttempt]], dict[bytes, int]]


class Slowness:
    """Judges the attempts of one worker process, and tells *store* of slow ones; without one, as in tests, nobody."""

    def __init__(self, settings: Settings, registry: Registry, worker: str, store: Store | None) -> None:
        self.default = threshold(settings.slow_after)
        declared = ((handler.name, handler.declared.slow_after) for handler in registry)
        self.of_handler = {name: one for name, one in declared if one is not None}
        self.worker, self.store = worker, store
        self.usual, self.lines = Usual(), Lines()
        self.rows: dict[tuple[str, int], list[SlowAttempt]] = {}  # by namespace and minute
        self.counts: Counter[bytes] = Counter()
        self.session, self.number = os.urandom(8).hex(), 0
        self.sending: Batch | None = None  # that may have been told, and is told again
        every = [self.default, *self.of_handler.values()]
        self.is_learning = any(one.times for one in every)
        self.least_ms = min(one.least_ms for one in every)  # no slow attempt is shorter

    # ------------------------------------------------------------ judging

    def threshold_of(self, name: str) -> Threshold:
        return self.of_handler.get(name, self.default)

    def judge(self, attempt: Attempt, outcome: str, now_ms: int) -> SlowAttempt | None:
        """What is kept of *attempt*, which ends *now_ms*, if it was slow; asked of those that took `least_ms`."""
        task, ctx = attempt.task, attempt.ctx
        if ctx is None or ctx.began is None:
            return None
        run_ms = (monotonic() - ctx.began) * 1000
        name = name_of(task.submission)
        limit_ms = self.threshold_of(name).ms(self.usual.p95_seconds.get((task.namespace, name)))
        if run_ms < limit_ms:
            return None
        return SlowAttempt(
            id=task.id, name=name, queue=task.queue, attempt=task.attempt, outcome=outcome, worker=self.worker,
            ended_ms=now_ms, threshold_ms=rounded(limit_ms), run_ms=rounded(run_ms), wait_ms=waited_ms(task),
            hold_ms=rounded(max(now_ms - task.leased_ms - run_ms, 0)), busy_ms=busy_ms(attempt, ctx, run_ms),
            call=None if ctx.trace is None else ctx.trace.times(),
        )  # fmt: skip

    def keep(self, task: Leased, slow: SlowAttempt, reported_ms: int) -> None:
        """The end of *slow* was recorded, *reported_ms* after it."""
        slow.report_ms = reported_ms
        self.lines.note(slow)
        place = task.namespace, slow.ended_ms // MINUTE_MS
        self.rows[place] = slowest([*self.rows.pop(place, ()), slow])
        if len(self.rows) > MOST_PLACES:
            del self.rows[min(self.rows, key=lambda one: one[1])]
        self.counts[tally_of(SLOW.encode(), task.raw, task.submission, None)] += 1

    # ------------------------------------------------------------ telling

    async def keep_telling(self) -> None:
        """Until this process ends: tell, and learn how long attempts usually run."""
        while True:
            try:
                self.lines.say()
                if self.is_learning and self.store is not None:
                    await self.usual.learn(self.store, self.is_multiple)
                await self.tell()
            except TaskpostError as exc:  # nothing is forgotten
                log.debug("slow attempts were not told: %s", exc)
            except Exception:
                log.exception("a fault of ours: slow attempts were not told")
            await asyncio.sleep(TELL_SECONDS * (0.8 + 0.4 * random.random()))

    def is_multiple(self, key: Key) -> bool:
        return self.threshold_of(key[1]).times > 0

    async def tell(self) -> None:
        """Tell of what was not told yet. Raises StoreUnavailable: the next time tells the same."""
        while self.store is not None and (self.sending or self.rows or self.counts):
            if self.sending is None:
                self.number += 1
                self.sending = self.batch()
            await self.store.slow.tell(self.session, self.number, *self.sending)
            self.sending = None

    def batch(self) -> Batch:
        """What one call can carry."""
        rows: list[tuple[str, SlowAttempt]] = []
        while self.rows and len(rows) + MOST_A_MINUTE <= MOST_ROWS:
            (namespace, _), found = self.rows.popitem()
            rows += ((namespace, row) for row in found)
        fields = list(self.counts)[:MOST_COUNTS]
        return rows, {field: self.counts.pop(field) for field in fields}


class Lines:
    """What is logged: the first slow attempt of a name at once, of the others each minute the slowest and how many."""

    def __init__(self) -> None:
        self.since: dict[str, float] = {}  # name -> when its last line was logged
        self.held: dict[str, tuple[int, SlowAttempt]] = {}  # name -> how many since, the slowest

    def note(self, slow: SlowAttempt) -> None:
        if slow.name in self.since:
            many, worst = self.held.get(slow.name, (0, slow))
            self.held[slow.name] = many + 1, max(worst, slow, key=lambda one: one.run_ms)
        elif len(self.since) < MOST_SAID:
            self.since[slow.name] = monotonic()
            write(slow)

    def say(self) -> None:
        """Log what is held of names whose last line is a minute old."""
        now = monotonic()
        for name in [name for name, at in self.since.items() if now - at >= SAY_SECONDS]:
            if name in self.held:
                many, worst = self.held.pop(name)
                self.since[name] = now
                write(worst, f" It was the slowest of {many:,} since the last line about them." if many > 1 else "")
            else:
                del self.since[name]


def write(slow: SlowAttempt, more: str = "") -> None:
    about = {"task_id": encode_id(slow.id), "task_name": slow.name, "attempt": slow.attempt}
    log.warning("%s%s", slow.told(), more, extra=about)


def waited_ms(task: Leased) -> float | None:
    """How long the attempt had been due when it was leased; not known of one that runs again after a crash."""
    if task.crashes or not task.raw:
        return None
    return max(task.leased_ms - max(int.from_bytes(task.raw[5:11], "big"), created_ms(task.id)), 0)


def busy_ms(attempt: Attempt, ctx: Context, run_ms: float) -> float | None:
    """For how much of its run it computed, or had the event loop."""
    if ctx.busy_seconds is not None:
        return rounded(min(ctx.busy_seconds * 1000, run_ms))
    never_waited = attempt.task.lane == "async" and attempt.handler is not None and attempt.handler.is_bare
    return rounded(run_ms) if never_waited else None


def rounded(ms: float) -> float:
    return round(ms, 2)
