"""
Makes the tasks of replays of many: a slice that was planned, and the canaries whose outcomes are waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import jsonschema_rs

from service.bulk import Bulk
from service.flow import flows_of
from service.ids import decode_id, encode_id, shard_of
from service.packing import pack, with_whole_numbers
from service.replaying import can_have, replayed, with_origin
from service.store import Store
from service.store.bulks import MOST_A_CALL
from service.store.tasks import MOST_BYTES_A_CALL
from service.task import Snapshot

LOOK_SECONDS = 0.5
BAD_ENDS = ("failed", "cancelled", "expired")
Pause = Callable[[Bulk, float], Awaitable[None]]


class Replayer:
    """Replays what a plan names."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def carry_out(self, bulk: Bulk, found: Sequence[Snapshot] = ()) -> None:
        """
        Make the tasks of the planned slice, and note them in *bulk*, which is then to be kept. Done again after it was
        interrupted, it makes none twice. *found* are the tasks that are replayed, when they have just been read.

        Raises:
            StoreUnavailable, StoreFull: to be taken up again.
        """
        if bulk.plan is None:
            return
        number, parts, place = bulk.plan
        known = {task.id: task for task in found}

        async def make(shard: int, part: int, members: list[tuple[int, str]]) -> list[bytes]:
            ids = [bytes.fromhex(id_) for _, id_ in members]
            tasks = [known.get(id_) for id_ in ids] if known else await self.store.tasks.read(ids)
            flows = [
                flow
                for task in tasks
                if task is not None
                for flow in flows_of([task.record.submission], task.record.namespace, replayed=True)
            ]
            await self.store.tasks.flows.declare(shard, flows)
            records = self.records([n for n, _ in members], tasks, bulk.asked.get("edits", {}))
            stem, some = await self.store.bulks.spawn(bulk, shard, number, part, records)
            return [stem + n.to_bytes(2, "big") for n, _ in records[:some]]

        # All are over before one's fault is told: what is made is noted with the others, when it is done again.
        made = await asyncio.gather(*(make(*part) for part in parts), return_exceptions=True)
        ids: list[bytes] = []
        for some in made:
            if isinstance(some, BaseException):
                raise some
            ids += some
        if bulk.canary is not None:
            bulk.canary_ids += map(encode_id, ids)
        bulk.done += len(ids)
        bulk.skipped += sum(len(members) for _, _, members in parts) - len(ids)
        bulk.plan, bulk.place = None, place

    def records(
        self, places: list[int], tasks: list[Snapshot | None], edits: Mapping[str, Any]
    ) -> list[tuple[int, bytes]]:
        """The records of new tasks, each with its place in the slice; those that cannot be made are left out."""
        made = [(n, self.record(task, edits)) for n, task in zip(places, tasks, strict=True) if task is not None]
        return [(n, record) for n, record in made if record is not None]

    def record(self, task: Snapshot, edits: Mapping[str, Any]) -> bytes | None:
        """
        The record of the new task; None when *edits* are not for it, its handler takes no such arguments, or it cannot
        be read.
        """
        if task.record.unreadable is not None or not can_have(task, edits):
            return None
        submission = with_origin(replayed(task, edits), task)
        handler = self.store.handlers.known(task.record.namespace, submission.get("name", ""))
        if "args" in edits and not takes(handler, submission.get("args", {})):
            return None
        with_whole_numbers(submission)
        packed = pack(
            submission,
            task.record.namespace,
            queue=task.record.queue,
            lane=task.record.lane,
            max_crashes=task.record.max_crashes,
            now_ms=self.store.tasks.clock.now_ms(),
        )
        return packed.record

    async def canary(self, bulk: Bulk, pause: Pause, *, is_over: bool = False) -> str | None:
        """
        Once all canaries are made, or none are to come, wait for their ends: why the others are not to follow, or None.

        Raises as *pause*.
        """
        while (canary := bulk.canary) is not None and (is_over or len(bulk.canary_ids) >= canary["tasks"]):
            states = [task.state if task else "succeeded" for task in await self.read(bulk.canary_ids)]
            bulk.canary_failed = sum(state in BAD_ENDS for state in states)
            if bulk.canary_failed > canary["max_failures"]:
                return f"{bulk.canary_failed} of the first {len(states)} did not succeed"
            bulk.is_past_canary = all(state in (*BAD_ENDS, "succeeded") for state in states)
            await pause(bulk, LOOK_SECONDS)
        return None

    async def read(self, ids: list[str]) -> list[Snapshot | None]:
        return await self.store.tasks.read([decode_id(id_) for id_ in ids])


def takes(handler: Mapping[str, Any] | None, args: dict[str, Any]) -> bool:
    """Whether a handler, as it was published, takes *args*."""
    schema = (handler or {}).get("args_schema")
    return not schema or jsonschema_rs.is_valid(schema, args)


def plan(number: int, tasks: list[Snapshot], place: Any) -> list[Any]:
    """The plan of a slice: its tasks by shard, in parts that fit one call each. Fixed, so that it can be done again."""
    open_: dict[int, tuple[int, list[Any], int]] = {}
    parts: list[Any] = []
    for n, task in enumerate(tasks):
        shard = shard_of(task.id)
        part, members, size = open_.get(shard, (-1, [], 0))
        if not members or len(members) >= MOST_A_CALL or size + task.size > MOST_BYTES_A_CALL:
            part, members, size = part + 1, [], 0
            parts.append([shard, part, members])
        members.append([n, task.id.hex()])
        open_[shard] = part, members, size + task.size
    return [number, parts, place]
