"""
From a decoded submission to a stored task and its receipt; the same for one task, a batch and a stream.

Owns the order of checks: schema, fields together, handler, arguments. Refuses to know HTTP.
The fact to know: a fresh task's answer is made from what is known of it, without reading it back; a test holds it
to what a read shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from service.api.known import Known, without_none
from service.api.receipts import Receipt, is_shown, stands_for
from service.api.runtime import Runtime
from service.contract import validator_of
from service.errors import (
    InvalidSubmission,
    InvalidTaskArguments,
    NotDurable,
    Problem,
    StoreUnavailable,
    UnknownHandler,
    UnknownQueue,
)
from service.flow import limit_faults
from service.ids import PAIRS, created_ms, encode_id
from service.packing import Packed, canonical, pack, with_whole_numbers
from service.showing import kept_of, show_callback, target_of
from service.store.fences import MEMORY
from service.store.tasks import New, Taken, idempotency_of
from service.submission import PLAIN, counted, faults_of, tag_faults
from service.task import Snapshot, options_of, rfc3339

OPTIONS = frozenset((
    "retries", "timeout_seconds", "soft_timeout_seconds", "retry_for_seconds", "max_crashes", "backoff",
    "result_ttl_seconds",
))  # fmt: skip
WHOLE = frozenset(("priority", "retries", "max_crashes", "flow"))


@dataclass(slots=True)
class Ready:
    """A submission that passed all checks."""

    new: New
    packed: Packed
    known: Known
    of_queue: dict[str, Any]  # the settings of its queue
    durability: str  # what is waited for before it is answered
    span: Any = None  # while traces are asked for


class Intake:
    """Takes submissions in. One for each `Runtime`."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime, self.settings, self.namespace = runtime, runtime.settings, runtime.namespace
        self.rules = runtime.rules
        self.is_valid = validator_of("Submission").is_valid
        self.stem, self.stem_text, self.stem_created = b"", "", ""

    # ------------------------------------------------------------ checks

    def prepare(self, submission: Any) -> Ready:
        """
        Check *submission* and pack it; it belongs to the intake from here on, unless its handler is unknown.

        Raises:
            InvalidSubmission: with every fault.
            UnknownHandler: nothing was changed; it may be tried again once the book was read.
            InvalidTaskArguments: with every fault.
            UnknownQueue: as UnknownHandler, where queues must be declared.
        """
        runtime = self.runtime
        now_ms = runtime.store.tasks.clock.now_ms()
        if not self.is_valid(submission):
            raise self.refusal(submission, now_ms)
        is_plain = PLAIN.issuperset(submission) and "name" in submission
        if is_plain and "flow" in submission:
            is_plain = not any(limit_faults(submission["flow"]))
        if is_plain and "tags" in submission:
            is_plain = not any(tag_faults(submission, self.settings))
        if not is_plain and faults_of(submission, now_ms, self.settings, self.rules):
            raise self.refusal(submission, now_ms)
        known = self.target(submission)
        queue = self.queue_for(submission, known)
        shared = known.shared(submission) if known.is_sharing else {}
        if not WHOLE.isdisjoint(submission):
            with_whole_numbers(submission)
        durability = submission.pop("durability", self.settings.durability)  # of this request, not of the task
        key = submission.get("idempotency_key")
        keyring = runtime.store.tasks.keyring
        idempotency = idempotency_of(self.namespace, key, canonical(submission), keyring) if key else b""
        submission.update(shared)  # behind the key, which is of what was sent
        of_queue = runtime.store.queue_book.complete(submission, self.namespace, queue)
        packed = pack(
            submission, self.namespace, queue=queue, lane=known.lane, max_crashes=known.max_crashes, now_ms=now_ms
        )
        new = New(packed.record, idempotency, packed.flow, packed.ties.unique)
        return Ready(new, packed, known, of_queue, durability)

    def refusal(self, submission: Any, now_ms: int) -> InvalidSubmission:
        faults = faults_of(submission, now_ms, self.settings, self.rules)
        return InvalidSubmission(counted(faults, "the submission"), errors=faults)

    def target(self, submission: dict[str, Any]) -> Known:
        """The handler, with `args` that it takes; or the calls of URLs."""
        handlers = self.runtime.handlers
        if "name" not in submission:
            self.refuse_gone(submission["url"])
            return handlers.url
        known = handlers.find(submission["name"])
        if not known.is_valid(args := submission.get("args", {})):
            raise known.argument_problem(args)
        soft = submission.get("soft_timeout_seconds")
        if soft is None:
            return known
        book = self.runtime.store.queue_book
        of_queue = book.known(self.namespace, book.queue_for(submission, self.namespace, known.queue))
        hard = options_of(submission, known.published, self.settings, of_queue)["timeout_seconds"]
        if soft >= hard:
            detail = f"{soft:g} needs to be less than the timeout_seconds of {known.name}, which is {hard:g}"
            fault = {"pointer": "/soft_timeout_seconds", "detail": detail}
            raise InvalidSubmission(counted([fault], "the submission"), errors=[fault])
        return known

    def queue_for(self, submission: dict[str, Any], known: Known) -> str:
        """Where *submission* goes. Raises UnknownQueue for a queue that nobody declared, where that is asked for."""
        book = self.runtime.store.queue_book
        queue = book.queue_for(submission, self.namespace, known.queue)
        if self.settings.strict_queues and queue != known.queue:
            handlers = self.runtime.handlers.by_name.values()
            declared = {*book.names(self.namespace), *(one.queue for one in handlers)}
            if queue not in declared:
                raise unknown_queue(queue, declared)
        return queue

    def refuse_gone(self, url: str) -> None:
        """Raises InvalidSubmission for a URL that is disabled."""
        store = self.runtime.store
        reason = store.gone.reason(self.namespace, url, store.tasks.clock.now_ms())
        if reason or (reason := store.endpoint_book.why_not(self.namespace, url)):
            fault = {"pointer": "/url", "detail": reason}
            raise InvalidSubmission(counted([fault], "the submission"), errors=[fault])

    def attempt(self, submission: Any) -> Ready | Problem:
        """`prepare`, with a refusal as a value. A Problem given is handed on."""
        if isinstance(submission, Problem):
            return submission
        try:
            return self.prepare(submission)
        except Problem as problem:
            return problem

    async def prepare_all(self, submissions: Sequence[Any]) -> list[Ready | Problem]:
        """`prepare` each; for unknown handlers, and for arguments that do not fit, the book is read again first."""
        made = [self.attempt(one) for one in submissions]
        if strange := [place for place, one in enumerate(made) if isinstance(one, UnknownQueue)]:
            try:
                await self.renew_queues()
            except StoreUnavailable as problem:
                return [problem if isinstance(one, UnknownQueue) else one for one in made]
            for place in strange:
                made[place] = self.attempt(submissions[place])
        doubtful = [place for place, one in enumerate(made) if isinstance(one, UnknownHandler | InvalidTaskArguments)]
        if any(isinstance(made[place], UnknownHandler) for place in doubtful):
            try:
                await self.runtime.handlers.look_again()
            except StoreUnavailable as problem:
                return [problem if isinstance(one, UnknownHandler) else one for one in made]
        elif doubtful and not await self.runtime.handlers.has_looked_again():
            return made
        for place in doubtful:
            made[place] = self.attempt(submissions[place])
        return made

    async def prepare_one(self, submission: Any) -> Ready:
        """As `prepare_all`, of one. Raises as `prepare`."""
        try:
            return self.prepare(submission)
        except UnknownHandler:
            await self.runtime.handlers.look_again()
        except UnknownQueue:
            await self.renew_queues()
        except InvalidTaskArguments:
            if not await self.runtime.handlers.has_looked_again():
                raise
        return self.prepare(submission)

    async def renew_queues(self) -> None:
        """After an unknown queue: read again which there are. Raises StoreUnavailable."""
        await self.runtime.within(self.runtime.require_store().queue_book.renew())

    # ------------------------------------------------------------ storing

    async def submit_one(self, ready: Ready) -> Receipt:
        """
        Store one task.

        Raises:
            IdempotencyMismatch, QueueDraining, QueueFull, StoreUnavailable, StoreFull
            DurabilityMissing: nothing was stored.
            NotDurable: it was, and that is all that is known.
        """
        store = self.runtime.require_store()
        tasks, new = store.tasks, ready.new
        tasks.memory.check()
        if ready.durability != MEMORY:
            await store.fences.require(ready.durability)
        if store.admission.is_simple(new):
            (taken,) = await self.runtime.patience.wait(tasks.put(tasks.shard_for(new), [new]))
        else:
            (taken,) = await self.runtime.within(store.admission.submit([new]))
        if taken.refusal is not None:
            raise taken.refusal
        if ready.durability != MEMORY:
            for problem in (await self.not_durable([ready], [taken])).values():
                raise problem
        if not taken.is_earlier:
            return Receipt(201, self.fresh(ready, taken), taken.id)
        found = await self.runtime.read(taken.id) if is_shown(taken) else None
        return stands_for(self.runtime, taken, found, key_of(ready))

    async def submit_all(self, made: Sequence[Ready | Problem]) -> list[Receipt | Problem]:
        """Store those that are ready; each has its own receipt or problem."""
        made = await self.with_durability(made)
        ready = [one for one in made if isinstance(one, Ready)]
        if not ready:
            return [one for one in made if isinstance(one, Problem)]
        try:
            store = self.runtime.require_store()
            taken = await self.runtime.within(store.admission.submit([one.new for one in ready]))
        except Problem as problem:
            return [one if isinstance(one, Problem) else problem for one in made]
        faults = await self.not_durable(ready, taken)
        snapshots = iter(await self.earlier(taken))
        answers = iter([
            faults.get(stored.id) or self.receipt(one, stored, snapshots)
            for one, stored in zip(ready, taken, strict=True)
        ])  # fmt: skip
        return [one if isinstance(one, Problem) else next(answers) for one in made]

    async def with_durability(self, made: Sequence[Ready | Problem]) -> list[Ready | Problem]:
        """*made*, with a Problem in the place of each that asks for what Redis cannot wait for."""
        refusals: dict[str, Problem] = {}
        for durability in {one.durability for one in made if isinstance(one, Ready)} - {MEMORY}:
            try:
                await self.runtime.require_store().fences.require(durability)
            except Problem as problem:
                refusals[durability] = problem
        return [refusals.get(one.durability, one) if isinstance(one, Ready) else one for one in made]

    async def not_durable(self, ready: Sequence[Ready], taken: Sequence[Taken]) -> dict[bytes, NotDurable]:
        """Wait for those that asked for it, and for earlier ones that stand for them: what is not known to be safe."""
        found: dict[bytes, NotDurable] = {}
        for durability in {one.durability for one in ready} - {MEMORY}:
            ids = [
                stored.id
                for one, stored in zip(ready, taken, strict=True)
                if one.durability == durability and stored.refusal is None
                if not stored.is_earlier or is_shown(stored)
            ]
            found |= await self.runtime.require_store().fences.wait(durability, ids)
        return found

    async def earlier(self, taken: Sequence[Taken]) -> list[Snapshot | Problem | None]:
        """The tasks that were there before under their keys; a Problem for each when they cannot be read now."""
        ids = [one.id for one in taken if is_shown(one)]
        if not ids:
            return []
        try:
            return list(await self.runtime.within(self.runtime.require_store().tasks.read(ids)))
        except Problem as problem:
            return [problem] * len(ids)

    def receipt(self, ready: Ready, taken: Taken, earlier: Iterator[Snapshot | Problem | None]) -> Receipt | Problem:
        if taken.refusal is not None:
            return taken.refusal
        if not taken.is_earlier:
            return Receipt(201, self.fresh(ready, taken), taken.id)
        found = next(earlier) if is_shown(taken) else None
        try:
            return found if isinstance(found, Problem) else stands_for(self.runtime, taken, found, key_of(ready))
        except Problem as problem:
            return problem

    # ------------------------------------------------------------ showing

    def named(self, id_: bytes) -> tuple[str, str]:
        """The id as text, and when it was made: ids of one call differ in their last two bytes, by less than 1,024."""
        if id_[:14] != self.stem:
            self.stem, self.stem_created = id_[:14], rfc3339(created_ms(id_))
            self.stem_text = encode_id(self.stem + b"\0\0")[:24]
        return self.stem_text + PAIRS[id_[14] << 8 | id_[15]], self.stem_created

    def fresh(self, ready: Ready, taken: Taken) -> dict[str, Any]:
        """What `showing.show` would show of a task that was stored just now."""
        packed = ready.packed
        submission, known = packed.submission, ready.known
        due_ms = taken.now_ms + packed.delay_ms if packed.delay_ms else packed.due_ms
        text, created = self.named(taken.id)
        at_ms = due_ms or packed.first_ms
        shown = {
            "id": text,
            **target_of(submission, self.runtime.redaction),
            "queue": packed.queue,
            "namespace": self.namespace,
            "lane": packed.lane,
            "state": "scheduled" if due_ms > taken.now_ms else "queued",
            "priority": packed.priority,
            "attempt": 0,
            "crashes": 0,
            "created_at": created,
            "run_at": rfc3339(at_ms) if at_ms or "run_at" in submission else created,
            "started_at": None,
            "finished_at": None,
            "tags": submission.get("tags", []),
            "metadata": submission.get("metadata", {}),
        }
        if OPTIONS.isdisjoint(submission) and not ready.of_queue:
            shown |= known.shown_options
        else:
            shown |= without_none(options_of(submission, known.published, self.settings, ready.of_queue))
        if "idempotency_key" in submission:
            shown["idempotency_key"] = submission["idempotency_key"]
        if "callback" in submission:
            shown["callback"] = show_callback(submission["callback"], None, self.runtime.redaction)
        if packed.ties.expires_ms:
            shown["expires_at"] = rfc3339(packed.ties.expires_ms)
        return shown | kept_of(submission)


def unknown_queue(queue: str, declared: set[str]) -> UnknownQueue:
    fault = {"pointer": "/queue", "detail": f'no queue "{queue}" is declared, and TASKPOST_STRICT_QUEUES asks for that'}
    if near := get_close_matches(queue, declared, 1):
        fault |= {"detail": f"{fault['detail']}; did you mean {near[0]}?", "hint": near[0]}
    return UnknownQueue(fault["detail"], errors=[fault])


def key_of(ready: Ready) -> str:
    return str(ready.packed.submission.get("idempotency_key"))
