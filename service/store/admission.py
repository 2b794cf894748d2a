"""
The way in for tasks of which more must be known than one call can tell: those with unique keys, whose place may be
another task's, and those whose idempotency key lives in another shard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from service.settings import Settings
from service.store.new import ASK_AGAIN, REFUSED, TO_BE_REPLACED, New, Taken
from service.store.outside import cancelling
from service.store.reservations import Reservations
from service.store.tasks import Tasks
from service.store.workers import HandlerBook

MOST_ROUNDS = 10


class Admission:
    """Takes tasks in. One for each `Store`."""

    def __init__(self, tasks: Tasks, book: HandlerBook, settings: Settings) -> None:
        self.tasks, self.book, self.settings = tasks, book, settings
        self.reservations = Reservations(tasks)

    def is_simple(self, task: New) -> bool:
        """Whether one call of submit.lua is all that it takes."""
        return not task.unique and not self.reservations.is_apart(task)

    async def submit(self, tasks: Sequence[New]) -> list[Taken]:
        """
        As `Tasks.submit`, of any tasks.

        Raises:
            StoreUnavailable: no answer; the tasks may or may not be there.
            StoreFull: nothing more was taken in.
        """
        answers = await self.submit_known(tasks)
        for place, answer in enumerate(answers):
            if answer.is_mismatch and (other := tasks[place].known_otherwise) is not None:
                [answers[place]] = await self.submit([other])
        return answers

    async def submit_known(self, tasks: Sequence[New]) -> list[Taken]:
        """As `submit`, by the first fingerprint of each alone."""
        if all(map(self.is_simple, tasks)):
            return await self.tasks.submit(tasks)
        self.tasks.memory.check()
        going, taken = list(tasks), dict[int, Taken]()
        reserved = await self.reservations.reserve(going, taken)
        await self.submit_until_decided(going, taken)
        if reserved:
            await self.reservations.settle(reserved, taken)
        return [taken[place] for place in range(len(tasks))]

    async def submit_until_decided(self, going: list[New], taken: dict[int, Taken]) -> None:
        """
        Submit those of *going* of which nothing is *taken* yet: again with the ends of the tasks that are to be
        replaced, and behind those of the same call that came before them.
        """
        places = [place for place in range(len(going)) if place not in taken]
        for _ in range(MOST_ROUNDS + 2 * len(places)):  # of one key many may come at once, each in another's place
            if not places:
                return
            answers = await self.tasks.submit([going[place] for place in places])
            taken.update(zip(places, answers, strict=True))
            places = [place for place in places if taken[place].status in (TO_BE_REPLACED, ASK_AGAIN)]
            for place in places:
                going[place] = replace(going[place], ending=await self.ending_of(taken[place]))
        for place in places:  # others were faster each time
            taken[place].status = REFUSED

    async def ending_of(self, holder: Taken) -> Sequence[bytes]:
        """The report that cancels the task whose place is to be taken; none when that is not asked, or it is gone."""
        if holder.status != TO_BE_REPLACED:
            return ()
        [found] = await self.tasks.read([holder.id])
        if found is None:
            return ()
        return cancelling(self.tasks, self.book, self.settings, found.id, found.raw, found.record, found.run)
