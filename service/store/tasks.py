"""
The life of a task in Redis: submit, lease, extend, finish, give back, end, read, forget.

Each function is one script and one state change, for many tasks at once. Nothing here decides whether to
retry a task, runs one, or reads this machine's wall clock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from service.ids import new_ids, shard_of
from service.sealing import keyring_of
from service.settings import Settings
from service.store import keys
from service.store.collector import Collector
from service.store.endings import worker_lost
from service.store.flows import Flows
from service.store.memory import MemoryWatch
from service.store.new import TAKEN_IN
from service.store.new import New as New
from service.store.new import Taken as Taken
from service.store.new import idempotency_of as idempotency_of
from service.store.records import namespace_of, opened_record, sealed_record
from service.store.refusals import keep_all, refusal_of
from service.store.replies import all_leased_of, snapshot_of
from service.store.scripts import Scripts
from service.task import Leased, Record, Snapshot

MOST_A_CALL = 128
MOST_BYTES_A_CALL = 1 << 20
IDEMPOTENCY_MS = 86_400_000
PROGRESS_MS = 7 * 86_400_000
LONGEST_HEADER = 267


class Clock:
    """Redis' clock as this process knows it: what it last said, and how long ago by the monotonic clock."""

    def __init__(self) -> None:
        self.offset_ms = time.time() * 1000 - time.monotonic() * 1000

    def hear(self, now_ms: int) -> None:
        self.offset_ms = now_ms - time.monotonic() * 1000

    def now_ms(self) -> int:
        return int(time.monotonic() * 1000 + self.offset_ms)


@dataclass(slots=True)
class Stepped:
    """What a step answered. *statuses*: one byte a finished task: 1 recorded, 0 lease lost, 2 end it as cancelled."""

    now_ms: int
    statuses: bytes
    next_due_ms: int | None
    is_work_left: bool
    has_suspects: bool  # they wait, among the lanes that were wanted
    is_cut_short: bool  # the call was full before every want had been looked at
    leased: list[Leased]


class Tasks:
    """All about tasks. One for each `Store`."""

    def __init__(self, scripts: Scripts, settings: Settings, memory: MemoryWatch) -> None:
        self.scripts, self.settings, self.memory = scripts, settings, memory
        self.keyring = keyring_of(settings.encryption_keys)
        self.flows = Flows(scripts)
        self.clock = Clock()
        self.shards = 1
        self.next_shard = 0
        self.collectors: dict[int, Collector[New, Taken]] = {}
        self.readers: dict[int, Collector[bytes, Snapshot | None]] = {}
        self.on_overflow: Callable[[int, str, int], Awaitable[None]] = keep_all

    # ------------------------------------------------------------ submit

    async def submit(self, tasks: Sequence[New]) -> list[Taken]:
        """
        Take in *tasks*, in order; all that arrive while a call is in flight share the next one.

        When this returns, they are in Redis. A flow key decides the shard, else a unique key, else an idempotency
        key; others go to any.

        Raises:
            StoreUnavailable: no answer; the tasks may or may not be there.
            StoreFull: nothing was taken in.
        """
        self.memory.check()
        if len(tasks) == 1:
            return await self.put(self.shard_for(tasks[0]), [tasks[0]])
        groups = self.grouped(tasks)
        answers = await asyncio.gather(
            *(self.put(shard, [tasks[i] for i in places]) for shard, places in groups)
        )
        taken: dict[int, Taken] = {}
        for (_, places), answer in zip(groups, answers, strict=True):
            taken.update(zip(places, answer, strict=True))
        return [taken[i] for i in range(len(tasks))]

    def shard_for(self, task: New) -> int:
        if home := task.home:
            return self.shard_of_hash(home)
        self.next_shard = (self.next_shard + 1) % self.shards
        return self.next_shard

    def shard_of_hash(self, hashed: bytes) -> int:
        """Where a key of that hash lives."""
        return int.from_bytes(hashed[:4], "big") % self.shards

    def grouped(self, tasks: Sequence[New]) -> list[tuple[int, list[int]]]:
        """Places of *tasks* in groups that fit one call each, tasks without a key together in one shard a group."""
        groups: list[tuple[int, list[int]]] = []
        open_: dict[int, tuple[list[int], int]] = {}
        free_shard = self.shard_for(New(b""))
        for i, task in enumerate(tasks):
            shard = self.shard_for(task) if task.home else free_shard
            places, size = open_.get(shard, ([], 0))
            if not places or len(places) >= MOST_A_CALL or size + len(task.record) > MOST_BYTES_A_CALL:
                places, size = [], 0
                groups.append((shard, places))
            places.append(i)
            open_[shard] = places, size + len(task.record)
        return groups

    def put(self, shard: int, group: list[New]) -> asyncio.Future[list[Taken]]:
        collector = self.collectors.get(shard)
        if collector is None:

            async def call(tasks: list[New]) -> list[Taken]:
                return await self.submit_call(shard, tasks)

            collector = self.collectors[shard] = Collector(
                call, most=MOST_A_CALL, most_bytes=MOST_BYTES_A_CALL
            )
        return collector.put(group, sum([len(task.record) for task in group]))

    def sealed(self, id_: bytes, record: bytes) -> bytes:
        """The *record* of a new task as it is stored."""
        return sealed_record(self.keyring, id_, record) if self.keyring.is_sealing else record

    async def submit_call(self, shard: int, tasks: list[New]) -> list[Taken]:
        """One call of submit.lua. The same ids go out again when it has to be repeated."""
        if flows := [task.flow for task in tasks if task.flow]:
            await self.flows.declare(shard, flows)
        ids = new_ids(shard, len(tasks), self.clock.now_ms())
        self.scripts.meter.observe("taskpost_commit_tasks", "submit", value=len(tasks))
        args: list[Any] = [IDEMPOTENCY_MS]
        for place, task in enumerate(tasks):
            ids[place] = task.id or ids[place]
            args += (ids[place] + task.idempotency[:24], self.sealed(ids[place], task.record))
            if task.unique:
                args[-2] += b"R" if task.ending else b"U"
                args += task.ending
        now_ms, statuses, earlier, *over = await self.scripts.call(shard, "submit", *args)
        self.clock.hear(now_ms)
        for queue, many in zip(over[::2], over[1::2], strict=True):
            await self.on_overflow(shard, queue.decode(), many)
        if not statuses.strip(b"0"):
            return [Taken(id_, now_ms) for id_ in ids]
        known = iter([earlier[i : i + 16] for i in range(0, len(earlier), 16)])
        taken: list[Taken] = []
        for id_, status, task in zip(ids, statuses, tasks, strict=True):
            refusal = refusal_of(status, task.record)
            stands = status != TAKEN_IN and refusal is None
            taken.append(Taken(next(known) if stands else id_, now_ms, status, refusal))
        return taken

    # ------------------------------------------------------------ lease and finish

    async def step(
        self,
        shard: int,
        token: bytes,
        worker: str,
        *,
        lease_ms: int,
        finished: Sequence[Sequence[bytes]] = (),
        wants: Iterable[tuple[str, str, int]] = (),
    ) -> Stepped:
        """
        Record *finished* (reports of `endings.py`), promote what is due, lease up to *wants*: (queue, lane, how many).
        Queues share the room of a lane, its largest want, in the order given; one may come twice, first for its share.

        *token* is the session's 8 bytes and the call's number in 4; a call repeated with the same token answers
        what it answered first. A lane of `ALONE` brings one task and nothing beside it.
        Keep to 128 tasks and 1 MiB a call.

        Raises:
            StoreUnavailable: no answer. Send the same call again, until it is answered.
        """
        args: list[Any] = [token, worker, lease_ms, len(finished)]
        for report in finished:
            args += report
        for want in wants:
            args += want
        if finished:
            self.scripts.meter.observe("taskpost_commit_tasks", "report", value=len(finished))
        reply = await self.scripts.call(shard, "step", *args)
        self.clock.hear(reply[0])
        return Stepped(
            now_ms=reply[0],
            statuses=reply[1],
            next_due_ms=reply[2] if reply[2] >= 0 else None,
            is_work_left=reply[3] % 2 == 1,
            has_suspects=bool(reply[3] & 2),
            is_cut_short=bool(reply[3] & 8),
            leased=all_leased_of(reply[4:], token, reply[0], bool(reply[3] & 4), self.keyring),
        )

    async def extend(self, shard: int, held: Sequence[tuple[bytes, bytes]], lease_ms: int) -> bytes:
        """
        Keep the leases of *held* (id, token). One byte each: 1 extended, 0 lost, 2 extended and to be cancelled.

        Raises:
            StoreUnavailable: no answer; the leases may run out.
        """
        statuses = b""
        for start in range(0, len(held), MOST_A_CALL):
            part = [id_ + token for id_, token in held[start : start + MOST_A_CALL]]
            statuses += await self.scripts.call(shard, "extend", lease_ms, *part)
        return statuses

    def closed(self, task: Leased, field: bytes, json: bytes) -> bytes:
        """*json* of a running *task*, its progress or its checkpoint, as it is stored."""
        return self.keyring.closed(json, task.namespace, task.id, field)

    async def note_progress(self, shard: int, notes: Sequence[tuple[bytes, bytes, bytes]]) -> bytes:
        """Note progress (`closed` JSON) of running tasks: (id, token, it). One byte each: 1 noted, 0 lease lost."""
        args = [part for id_, token, progress in notes for part in (id_ + token, progress)]
        statuses: bytes = await self.scripts.call(shard, "progress", PROGRESS_MS, *args)
        return statuses

    async def note_checkpoints(self, shard: int, notes: Sequence[tuple[bytes, bytes, int, bytes]]) -> bytes:
        """
        Note where running tasks are: (id, token, number of the checkpoint, `closed` JSON). 1 noted, 0 lease lost each.

        A number below that of the task's last checkpoint comes late, and does nothing. Keep to 128 and 1 MiB a call.
        """
        args = [part for id_, token, number, json in notes for part in (id_ + token + number.to_bytes(4, "big"), json)]
        statuses: bytes = await self.scripts.call(shard, "checkpoint", *args)
        return statuses

    async def reap(
        self, shard: int, lost: Sequence[tuple[bytes, bytes]] = (), together: int = 0, reason: str = ""
    ) -> tuple[int, list[tuple[bytes, bytes]]]:
        """
        Give back the tasks whose leases have ended, or those of *lost* (id, token), which are known to be lost with
        a process that held *together* tasks, in other shards too; negative: it was ended by its worker, and they are
        not to blame. Their attempts say the *reason*.

        Answers how many were given back, and the (id, token) of those that must end: see `outside.py`.
        """
        if together >= 0:
            together = max(together, len(lost))
        packed = [id_ + token for id_, token in lost]
        error = b',"error":' + orjson.dumps(worker_lost(reason)) if reason else b""
        reply = await self.scripts.call(shard, "reap", self.settings.lease_ms, together, error, *packed)
        return reply[0], [(packed[:16], packed[16:]) for packed in reply[1:]]

    async def end(self, shard: int, reports: Sequence[Sequence[bytes]]) -> bytes:
        """
        End tasks from outside an attempt. One byte each: 1 ended, 2 asked to stop, 3 had ended before,
        0 no such task or not to be ended by this report.
        """
        statuses: bytes = await self.scripts.call(shard, "end", *[part for report in reports for part in report])
        return statuses

    # ------------------------------------------------------------ read and forget

    async def read(self, ids: Sequence[bytes]) -> list[Snapshot | None]:
        """The tasks of *ids*, in their order; None where there is none."""
        by_shard: dict[int, list[int]] = {}
        for place, id_ in enumerate(ids):
            if shard_of(id_) < self.shards:
                by_shard.setdefault(shard_of(id_), []).append(place)
        found: list[Snapshot | None] = [None] * len(ids)

        async def read_some(shard: int, places: list[int]) -> None:
            wanted = [ids[place] for place in places]
            some = await (self.reader(shard).put(wanted, 0) if len(ids) == 1 else self.read_calls(shard, wanted))
            for place, snapshot in zip(places, some, strict=True):
                found[place] = snapshot

        await asyncio.gather(*(read_some(shard, places) for shard, places in by_shard.items()))
        return found

    def reader(self, shard: int) -> Collector[bytes, Snapshot | None]:
        """Readers of single tasks share their calls."""
        collector = self.readers.get(shard)
        if collector is None:

            async def call(ids: list[bytes]) -> list[Snapshot | None]:
                return await self.read_calls(shard, ids)

            collector = self.readers[shard] = Collector(call, most=MOST_A_CALL)
        return collector

    async def read_calls(self, shard: int, ids: list[bytes]) -> list[Snapshot | None]:
        """The tasks of *ids*, all of *shard*; large ones come a few a call."""
        found: list[Snapshot | None] = []
        while len(found) < len(ids):
            part = ids[len(found) : len(found) + MOST_A_CALL]
            reply = await self.scripts.call(shard, "read", *part)
            self.clock.hear(reply[0])
            answered = part[: len(reply) // 5]
            found += [
                snapshot_of(self.keyring, id_, reply[0], *reply[1 + 5 * n : 6 + 5 * n])
                for n, id_ in enumerate(answered)
            ]
        return found

    async def packed_run(self, id_: bytes) -> bytes | None:
        """What `run` holds of a task."""
        packed: bytes | None = await self.scripts.command("HGET", keys.run(shard_of(id_)), id_)
        return packed

    async def raw(self, id_: bytes) -> bytes | None:
        """A task's record as stored, opened if it is sealed and can be."""
        raw: bytes | None = await self.scripts.command("GET", keys.record(id_))
        return raw and opened_record(self.keyring, id_, raw)[0]

    async def namespace(self, id_: bytes) -> str:
        """The namespace of a task, by which its values are sealed; not asked for, and empty, where nothing is."""
        if not self.keyring.is_sealing:
            return ""
        head = await self.scripts.command("GETRANGE", keys.record(id_), 0, LONGEST_HEADER)
        return namespace_of(head) if head else ""
    async def forget(self, id_: bytes, record: Record) -> int:
        """Remove an ended task. 1 removed, 0 no such task, -1 it has not ended."""
        key = record.submission.get("idempotency_key")
        hashed = idempotency_of(record.namespace, key, b"")[:16] if key else b""
        done: int = await self.scripts.call(shard_of(id_), "forget", id_, hashed)
        if done == 1 and hashed and (shard := self.shard_of_hash(hashed)) != shard_of(id_):
            await self.scripts.command("UNLINK", keys.idempotency(shard, hashed))
        return done
