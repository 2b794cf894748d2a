"""
Carries out work on many tasks: looks for them a slice at a time, and does to them what was asked.

Any number of schedulers may try: one holds each work, and says so with every slice; when it falls silent another goes
on from where it was. Refuses to know how a slice is done twice without harm: the store sees to that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator

from service.bulk import ABORTED, DONE, Bulk
from service.errors import TaskpostError
from service.scheduler.replayer import Replayer, plan
from service.store import Store
from service.store.bulks import HeldByAnother
from service.store.pages import Place, written
from service.store.tasks import MOST_A_CALL
from service.task import Snapshot

log = logging.getLogger("taskpost.scheduler")

HOLD_MS = 6000
MOST_A_SLICE, MOST_REPLAYED, MOST_BYTES_A_SLICE = 2048, 512, 8 << 20
SLICES_PER_SECOND = 4
RENEW_SECONDS = 1.0


class Carrier:
    """Carries out all that nobody else holds. A duty, but for all shards at once."""

    every_seconds = 0.5

    def __init__(self, store: Store) -> None:
        self.store = store
        self.name = os.urandom(8).hex()
        self.replayer = Replayer(store)
        self.carried: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Take up what is under way and held by nobody."""
        try:
            bulks = await self.store.bulks.known()
        except TaskpostError as exc:
            log.warning("work on many tasks: %s", exc)
            return
        now_ms = self.store.tasks.clock.now_ms()
        for bulk in bulks:
            is_free = bulk.holder == self.name or bulk.held_until_ms <= now_ms
            if bulk.is_running and is_free and bulk.id not in self.carried:
                self.carried[bulk.id] = asyncio.create_task(self.carry(bulk.id))

    async def close(self) -> None:
        """Leave it where it is, and let others go on at once."""
        carried = dict(self.carried)
        for task in carried.values():
            task.cancel()
        await asyncio.gather(*carried.values(), return_exceptions=True)
        for id_ in carried:
            with contextlib.suppress(TaskpostError):
                await self.store.bulks.let_go(id_, self.name)

    async def carry(self, id_: str) -> None:
        """Carry out one, from where it is to its end; what fails is said, and left to the next time."""
        bulks = self.store.bulks
        try:
            bulk = await bulks.take(id_, self.name, self.store.tasks.clock.now_ms(), HOLD_MS)
            if bulk is None:
                return
            await self.store.handlers.refresh()  # what was published just now counts
            reason = await self.carry_out(bulk)
            await self.keep(bulk)
            state = ABORTED if reason else DONE
            await bulks.end(id_, state, reason, self.store.tasks.clock.now_ms())
            told = bulk.action, id_, state, f" ({reason})" if reason else "", bulk.done, bulk.skipped, bulk.filter
            log.info("bulk %s %s: %s%s; %d tasks done, %d left as they were; filter %s", *told)
        except HeldByAnother:
            log.info("bulk %s: aborted, or taken over", id_)
        except TaskpostError as exc:
            log.warning("bulk %s: %s; going on soon", id_, exc)
        except Exception as exc:
            log.exception("bulk %s cannot be carried out", id_)
            await self.give_up(id_, exc)
        finally:
            self.carried.pop(id_, None)

    async def give_up(self, id_: str, exc: Exception) -> None:
        """A fault of ours would come back for ever."""
        try:
            await self.store.bulks.end(id_, ABORTED, f"it failed: {exc!r}", self.store.tasks.clock.now_ms())
        except TaskpostError as fault:
            log.warning("bulk %s: %s", id_, fault)

    async def carry_out(self, bulk: Bulk) -> str | None:
        """
        All slices that are left; why it was to be stopped before its end, or None.

        Raises:
            HeldByAnother: it was aborted, or another has taken it over.
            StoreUnavailable, StoreFull: to be taken up again.
        """
        if bulk.plan is not None:
            await self.replayer.carry_out(bulk)
            await self.keep(bulk)
        source = self.store.pages.source(bulk.query, bulk.place)
        reading = asyncio.ensure_future(self.slice(source, self.most(bulk)))
        try:
            while True:
                found, place, looked_at = await reading
                if not looked_at:
                    # Fewer than were asked for may be all canaries that there are.
                    return await self.replayer.canary(bulk, self.pause, is_over=True)
                reads_ahead = bulk.canary is None  # else it depends on this slice how many more there may be
                if reads_ahead:
                    reading = asyncio.ensure_future(self.slice(source, self.most(bulk)))
                await self.act(bulk, found, place)
                bulk.place, bulk.examined = place, bulk.examined + looked_at
                await self.keep(bulk)
                if reason := await self.replayer.canary(bulk, self.pause):
                    return reason
                if not reads_ahead:
                    reading = asyncio.ensure_future(self.slice(source, self.most(bulk)))
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    def most(self, bulk: Bulk) -> int:
        """How many tasks the next slice may have."""
        most = MOST_REPLAYED if bulk.action == "replay" else MOST_A_SLICE
        if bulk.rate_per_second:
            most = max(1, min(most, int(bulk.rate_per_second / SLICES_PER_SECOND)))
        if bulk.canary is not None:
            most = max(1, min(most, bulk.canary["tasks"] - len(bulk.canary_ids)))
        return most

    async def slice(self, source: AsyncIterator[tuple[bytes, Place]], most: int) -> tuple[list[Snapshot], Place, int]:
        """
        Up to *most* of the next tasks as they are, fewer when they are large; the place behind them, and how many were
        looked at.
        """
        found: list[Snapshot] = []
        place: Place = []
        looked_at = size = 0
        while looked_at < most and size < MOST_BYTES_A_SLICE:
            candidates: list[tuple[bytes, Place]] = []
            async for candidate in source:
                candidates.append(candidate)
                if len(candidates) >= min(MOST_A_CALL, most - looked_at):
                    break
            if not candidates:
                break
            some = [task for task in await self.store.tasks.read([id_ for id_, _ in candidates]) if task is not None]
            found += some
            place = written(candidates[-1][1])
            looked_at += len(candidates)
            size += sum(task.size for task in some)
        return found, place, looked_at

    async def act(self, bulk: Bulk, found: list[Snapshot], place: Place) -> None:
        """Do what is asked to those of *found* that are meant, no faster than asked. Raises as `carry_out`."""
        bulks, asked, query = self.store.bulks, bulk.asked, bulk.query
        wanted = [task for task in found if query.takes(task)]
        if not wanted:
            return
        if bulk.action == "replay":
            bulk.number += 1
            bulk.plan = plan(bulk.number, wanted, place)
            await self.keep(bulk)
            await self.replayer.carry_out(bulk, wanted)
        else:
            if bulk.action == "cancel":
                done = await bulks.cancel(wanted)
            elif bulk.action == "delete":
                done = await bulks.delete(wanted)
            else:
                done = await bulks.change(wanted, asked.get("due_ms"), asked.get("priority"))
            bulk.done += done
            bulk.skipped += len(wanted) - done
            bulk.place = place
        if bulk.rate_per_second:
            await self.pause(bulk, len(wanted) / bulk.rate_per_second)

    async def keep(self, bulk: Bulk) -> None:
        await self.store.bulks.keep(bulk, self.store.tasks.clock.now_ms(), HOLD_MS)

    async def pause(self, bulk: Bulk, seconds: float) -> None:
        """Wait, and hold it meanwhile. Raises as `carry_out`."""
        while seconds > 0:
            nap = min(seconds, RENEW_SECONDS)
            await asyncio.sleep(nap)
            seconds -= nap
            await self.keep(bulk)


