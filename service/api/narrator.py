"""
Events out of the entries of the streams: who wants which, and what they tell of their tasks.

Owns what is looked up: a task once for all who follow, many a call, and only where somebody may want the event. What an
event cannot change is known from before.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from service.api.follower import Follower
from service.live import LOG, PROGRESS, Event, Facts, Places, Watch, facts_of, log_event, ms_of, task_event
from service.store import Store
from service.store.attempts import History
from service.store.events import Entry, transitions_of
from service.task import ENDED, EVENTS

MOST_FACTS = 20_000
# After these a task may run as another attempt, with another priority or error, than was known.
CHANGING = frozenset(("scheduled", "queued", "running", PROGRESS, "failed"))
LOGGING = frozenset((LOG, "scheduled", "queued", *ENDED))  # an attempt may have said something more
Line = tuple[int, int, list[object]]  # attempt, number, the line as it is kept


@dataclass(slots=True)
class Move:
    """A transition that somebody may want; *watches* are theirs."""

    what: str
    id: bytes
    at_ms: int
    cursor: str
    watches: Sequence[Watch]


@dataclass(slots=True)
class Watches:
    """The watches of all who follow, each with its followers, so that an event is matched and written once for all."""

    followers: dict[Watch, set[Follower]] = field(default_factory=lambda: defaultdict(set))
    of_all: set[Watch] = field(default_factory=set)
    of_one: dict[bytes, set[Watch]] = field(default_factory=lambda: defaultdict(set))

    def add(self, follower: Follower) -> None:
        watch = follower.watch
        self.followers[watch].add(follower)
        for id_ in watch.ids or ():
            self.of_one[id_].add(watch)
        if watch.ids is None:
            self.of_all.add(watch)

    def remove(self, follower: Follower) -> None:
        watch = follower.watch
        if follower not in self.followers.get(watch, ()):
            return
        self.followers[watch].remove(follower)
        if self.followers[watch]:
            return
        del self.followers[watch]
        self.of_all.discard(watch)
        for id_ in watch.ids or ():
            self.of_one[id_].discard(watch)
            if not self.of_one[id_]:
                del self.of_one[id_]

    def takers(self, what: str, id_: bytes) -> list[Watch]:
        """Those that may take such an event of a task."""
        return [one for one in (*self.of_all, *self.of_one.get(id_, ())) if one.may_take(what)]


class Narrator:
    """Tells what entries say. One for each `Hub`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.facts: OrderedDict[bytes, Facts] = OrderedDict()
        self.lines: dict[bytes, tuple[int, int]] = {}  # of logs that somebody follows: up to where they were told

    def forget_log(self, id_: bytes) -> None:
        """Nobody follows this log any more."""
        self.lines.pop(id_, None)

    async def events_of(self, entries: Iterable[Entry], places: Places, watches: Watches) -> dict[Watch, list[Event]]:
        """The events of *entries* by who wants them; *places* move behind the entries. Raises StoreUnavailable."""
        moves = self.moves_of(entries, places, watches)
        if not moves:
            return {}
        await self.learn(moves)
        histories = await self.histories_of(moves)
        for id_, history in histories.items():
            if history.snapshot.record.has_ended:  # with its last progress, which came with the end
                self.facts[id_] = facts_of(history.snapshot)
        told: dict[Watch, list[Event]] = defaultdict(list)
        for move in moves:
            facts = self.facts.get(move.id)
            takers = [watch for watch in move.watches if facts is not None and watch.takes(facts)]
            if facts is None or not takers:
                continue
            lines = self.lines_of(move.id, histories.get(move.id))
            events = [] if move.what == LOG else [task_event(move.id, move.what, move.at_ms, facts, move.cursor)]
            for watch in takers:
                told[watch] += [*lines, *events] if watch.has_log else events
        return told

    def moves_of(self, entries: Iterable[Entry], places: Places, watches: Watches) -> list[Move]:
        """The transitions that somebody may want; of several reports of a task's progress the last one."""
        moves: list[Move] = []
        for entry in entries:
            told, skipped = transitions_of(entry.payload), places.skipped(entry.shard)
            wanted = []
            for number, (letter, id_) in enumerate(told):
                what = EVENTS.get(letter, "")  # a newer version may write letters that this one does not know
                if number >= skipped and what and (takers := watches.takers(what, id_)):
                    wanted.append((number + 1, what, id_, takers))
            at_ms = ms_of(entry.id)
            cursors = {number: places.cursor((entry.shard, number)) for number, *_ in wanted if number < len(told)}
            places.move(entry.shard, entry.id)
            for number, what, id_, takers in wanted:
                moves.append(Move(what, id_, at_ms, cursors.get(number) or places.cursor(), takers))
        last = {move.id: move for move in moves if move.what == PROGRESS}
        return [move for move in moves if move.what != PROGRESS or last[move.id] is move]

    async def learn(self, moves: Sequence[Move]) -> None:
        """Know the facts of the tasks of *moves*. Raises StoreUnavailable."""
        wanted = {move.id for move in moves if move.what in CHANGING or move.id not in self.facts}
        found = await self.store.tasks.read(list(wanted)) if wanted else []
        for task in found:
            if task is not None:
                self.facts[task.id] = facts_of(task)
                self.facts.move_to_end(task.id)
        while len(self.facts) > max(MOST_FACTS, len(wanted)):
            self.facts.popitem(last=False)

    async def histories_of(self, moves: Sequence[Move]) -> dict[bytes, History]:
        """The attempts of those tasks whose log somebody follows and may have grown. Raises StoreUnavailable."""
        wanted = {move.id for move in moves if move.what in LOGGING and any(one.has_log for one in move.watches)}
        found = await asyncio.gather(*(self.store.attempts.history(id_) for id_ in wanted))
        return {history.snapshot.id: history for history in found if history is not None}

    def lines_of(self, id_: bytes, history: History | None) -> list[Event]:
        """What a task has logged since it was looked at last."""
        if history is None:
            return []
        after = self.lines.get(id_, (0, 0))
        lines = [line for line in all_lines(history) if line[:2] >= after]
        if lines:
            self.lines[id_] = (lines[-1][0], lines[-1][1] + 1)
        return [log_event(id_, attempt, number, line) for attempt, number, line in lines]


def all_lines(history: History) -> list[Line]:
    """Every line that is kept of a task's attempts, in order."""
    lines: list[Line] = []
    for row in history.rows:
        lines += numbered(row.get("attempt", 0), row.get("log_said", 0), row.get("log", ()))
    if history.snapshot.run is not None:
        lines += numbered(history.snapshot.run.attempt, history.said, history.lines)
    return lines


def numbered(attempt: int, said: int, lines: Sequence[list[object]]) -> list[Line]:
    return [(attempt, said - len(lines) + n, line) for n, line in enumerate(lines)]


