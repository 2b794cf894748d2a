"""
Attempts that end out of their worker's hands: through the completion URL, by the silence of the endpoint that holds
them, or because they overstayed their limit and were killed.

What an outcome means is decided as in a worker (`decisions.py`) and recorded by the same script. Each call may be
repeated: the same report again answers what it answered first, for as long as the store remembers a session.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from service.errors import TaskpostError
from service.ids import shard_of
from service.outcome import Cancelled, Deferred, Failed, Outcome, failed
from service.sealing import Keyring, version_of
from service.settings import Settings
from service.store import keys
from service.store.decisions import decide, report_of, row_of
from service.store.endings import Ending, again, only_if_overdue
from service.store.records import PROGRESS, opened_value
from service.store.replies import leased_of
from service.store.scripts import Scripts
from service.store.tasks import Tasks
from service.store.workers import HandlerBook
from service.task import Leased, Run, parse_run, rfc3339

FRESH_SECONDS = 60.0
RETRY_SECONDS = 1.0
SECRET, SECRET_BYTES = "secret", 32  # in conf; it may begin like a sealed value, which is longer
SECRET_PLACE = ("", b"completions", b"secret")
ASKED = "cancellation was asked for"
ANSWERED = {"status": 202}  # what the call was answered that handed the attempt over
GONE, RECORDED, CANCELLING = b"0", b"1", b"2"


class CompletionSecret:
    """What seals completion tokens: made once for a deployment, kept in Redis, known by heart."""

    def __init__(self, scripts: Scripts, keyring: Keyring) -> None:
        self.scripts, self.keyring = scripts, keyring
        self.value = b""
        self.read_at = float("-inf")

    async def get(self) -> bytes:
        """The secret. Raises StoreUnavailable or StoreFull: there is none known, and it cannot be had now."""
        if time.monotonic() - self.read_at > FRESH_SECONDS:
            try:
                await self.refresh()
            except TaskpostError:
                if not self.value:
                    raise
        return self.value

    async def look_again(self) -> bytes:
        """The secret for a token that did not fit it, which another process may have made after Redis was replaced."""
        if time.monotonic() - self.read_at > RETRY_SECONDS:
            with contextlib.suppress(TaskpostError):
                await self.refresh()
        return self.value

    async def refresh(self) -> None:
        """Read it, and make it if there is none. Raises StoreUnavailable or StoreFull."""
        found = await self.scripts.command("HGET", keys.conf(0), SECRET)
        if found is None:
            made = self.keyring.closed(self.value or os.urandom(SECRET_BYTES), *SECRET_PLACE)
            await self.scripts.command("HSETNX", keys.conf(0), SECRET, made)
            found = await self.scripts.command("HGET", keys.conf(0), SECRET)
        self.value, self.read_at = self.opened(found), time.monotonic()

    def opened(self, stored: bytes) -> bytes:
        """The secret as it is stored, opened. Raises PayloadUnreadable."""
        return stored if len(stored) == SECRET_BYTES else self.keyring.opened(stored, *SECRET_PLACE)

    async def renew(self) -> bool:
        """Write it anew if it is not sealed as it would be now; whether it was. Raises as `refresh`."""
        found = await self.scripts.command("HGET", keys.conf(0), SECRET)
        if found is None or (0 if len(found) == SECRET_BYTES else version_of(found)) == self.keyring.newest:
            return False
        # Who writes it at the same time writes the same secret.
        await self.scripts.command("HSET", keys.conf(0), SECRET, self.keyring.closed(self.opened(found), *SECRET_PLACE))
        return True


@dataclass(slots=True)
class HeldAttempt:
    """An attempt that is held by its token now: *task* as its worker had it, and what was said of it since."""

    task: Leased
    run: Run
    progress: dict[str, Any] | None


class Completions:
    """Ends attempts that are not in a worker's hands. One for each `Store`."""

    def __init__(self, tasks: Tasks, book: HandlerBook, settings: Settings) -> None:
        self.tasks, self.book, self.settings = tasks, book, settings
        self.secret = CompletionSecret(tasks.scripts, tasks.keyring)

    async def held(self, id_: bytes, token: bytes) -> HeldAttempt | None:
        """The attempt that holds *id_* by *token*; None when it is over. Raises StoreUnavailable."""
        if shard_of(id_) >= self.tasks.shards:
            return None
        reply = await self.tasks.scripts.call(shard_of(id_), "read", id_)
        raw, packed, progress = reply[1], reply[2], reply[4]
        self.tasks.clock.hear(reply[0])
        if raw is None or packed is None or packed[:12] != token:
            return None
        run = parse_run(packed)
        if not run.is_held:
            return None
        keyring = self.tasks.keyring
        task = leased_of(id_ + packed[12:17] + raw, token, run.started_ms, keyring)
        said = opened_value(keyring, task.namespace, id_, PROGRESS, progress) if progress else None
        return HeldAttempt(task, run, orjson.loads(said) if said else None)

    async def beat(self, id_: bytes, token: bytes) -> bytes:
        """The endpoint is alive: 1 kept, 2 kept and to be cancelled, 0 lease lost. Raises StoreUnavailable."""
        status: bytes = await self.tasks.scripts.call(shard_of(id_), "beat", id_ + token)
        return status

    async def end(self, id_: bytes, token: bytes, purpose: str, outcome: Outcome) -> bool:
        """
        End the attempt with *outcome*, as its worker would have; False when it was over before.

        *purpose* names the call: the same one again answers what it answered first, and does nothing more. A task that
        is to be cancelled is, unless it succeeded.

        Raises:
            StoreUnavailable: no answer; the call may be repeated.
        """
        attempt = await self.held(id_, token)
        if attempt is None:  # the session may remember it
            first = await self.step(id_, token, purpose, again(nobody(id_, token), b"B", 0, None))
            return first == RECORDED or (first == CANCELLING and await self.end_cancelled(id_, token, purpose, None))
        if attempt.run.is_cancelling and isinstance(outcome, Failed | Deferred):
            outcome = Cancelled(ASKED)
        status = await self.step(id_, token, purpose, self.report(attempt, outcome))
        if status == CANCELLING:
            return await self.end_cancelled(id_, token, purpose, attempt)
        return status == RECORDED

    async def end_cancelled(self, id_: bytes, token: bytes, purpose: str, attempt: HeldAttempt | None) -> bool:
        """It was to run again, but cancellation was asked for in the meantime."""
        report = again(nobody(id_, token), b"B", 0, None)
        if attempt is not None:
            report = self.report(attempt, Cancelled(ASKED))
        return await self.step(id_, token, f"{purpose}, cancelled", report) == RECORDED

    async def end_silent(self, id_: bytes, token: bytes) -> None:
        """
        End the attempt of an endpoint that was not heard from in its time; one that was heard from by now goes on.

        Raises:
            StoreUnavailable: no answer; the next reap does it.
        """
        attempt = await self.held(id_, token)
        noted = await self.tasks.scripts.command("HGET", keys.external(shard_of(id_)), id_)
        if attempt is None or noted is None:
            return
        interval_ms, last_ms = int.from_bytes(noted[:6], "big"), int.from_bytes(noted[12:18], "big")
        outcome: Outcome = silence(interval_ms, last_ms, self.tasks.clock.now_ms())
        if attempt.run.is_cancelling:
            outcome = Cancelled(ASKED)
        # Its own session each time: what is refused, because a heartbeat came, may be due later.
        for one in (outcome, Cancelled(ASKED)):
            report = only_if_overdue(self.report(attempt, one))
            if await self.call(id_, os.urandom(8), attempt.run.worker, report) != CANCELLING:
                return

    def report(self, attempt: HeldAttempt, outcome: Outcome) -> list[bytes]:
        """*outcome* as step.lua takes it."""
        task, worker, now_ms = attempt.task, attempt.run.worker, self.tasks.clock.now_ms()
        if isinstance(outcome, Cancelled):
            return self.packed(attempt, Ending("cancelled", row=row_of(task, outcome, "cancelled", now_ms, worker)))
        decision = decide(task, outcome, self.options(task), now_ms, worker, random.random)
        return self.packed(attempt, decision)

    def packed(self, attempt: HeldAttempt, decision: Any) -> list[bytes]:
        if isinstance(decision, Ending):
            decision.progress = attempt.progress
            self.tasks.memory.relieve(decision)
        task, now_ms = attempt.task, self.tasks.clock.now_ms()
        return report_of(task, decision, self.options(task), self.settings, attempt.run.worker, now_ms)

    def options(self, task: Leased) -> dict[str, Any]:
        return self.book.options(task.submission, task.namespace, task.queue, self.settings)

    async def step(self, id_: bytes, token: bytes, purpose: str, report: list[bytes]) -> bytes:
        """Record *report* in the session of this attempt and *purpose*, which answers a repetition as the first."""
        session = blake2b(id_ + token + purpose.encode(), digest_size=8).digest()
        return await self.call(id_, session, "", report)

    async def call(self, id_: bytes, session: bytes, worker: str, report: list[bytes]) -> bytes:
        token = session + (1).to_bytes(4, "big")
        stepped = await self.tasks.step(shard_of(id_), token, worker, lease_ms=0, finished=[report])
        return stepped.statuses


def nobody(id_: bytes, token: bytes) -> Leased:
    """Stands for an attempt of which nothing is left but its name."""
    return Leased(id_, token, b"", {}, "", "", 0, "url", 0, 0, 0)


def silence(interval_ms: int, last_ms: int, now_ms: int) -> Failed:
    """The failure of an endpoint that was not heard from within *interval_ms*, or had no more time after *last_ms*."""
    if now_ms >= last_ms:
        message = (
            "the endpoint took the task over, and has not finished it by the end of the task's retry_for_seconds, "
            f"{rfc3339(last_ms)}"
        )
        return missed("TimeLimitExceeded", message, retry=False)
    message = (
        f"the endpoint took the task over, and was not heard from for {interval_ms / 1000:g} s: it needs to call the "
        "completion URL with /heartbeat more often, or say in Taskpost-Heartbeat how long it will be silent"
    )
    return missed("HeartbeatMissed", message, retry=True)


def missed(type_: str, message: str, *, retry: bool) -> Failed:
    outcome = failed(type_, message, retry=retry)
    outcome.http = ANSWERED
    return outcome


