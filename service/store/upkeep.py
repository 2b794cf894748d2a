"""
Upkeep of a shard: due tasks promoted, old ones forgotten. Any number of processes may do it at once.
"""

from __future__ import annotations

import os

from service.settings import Settings
from service.store import keys
from service.store.replies import pairs_of
from service.store.tasks import Tasks
from service.store.walks import scored_pairs
from service.task import LETTERS

RUNS_A_CALL = 64
YOUNG_MS = 60_000  # records live at least this long
SHED = 2048
EVENTS_MS = 3_600_000
UNUSED_MS = 86_400_000


async def promote(tasks: Tasks, shard: int) -> None:
    """
    Move due tasks of *shard* to their lists, and raise markers that got lost.

    Workers do so for the queues they serve; this is for queues that nobody serves right now, and for the day
    on which a marker is lost.
    """
    session = os.urandom(8)
    counts = pairs_of(await tasks.scripts.command("HGETALL", keys.count(shard)))
    waiting = {field[2:].decode() for field, count in counts if field[:1] in b"qs" and int(count)}
    for number, queue in enumerate(sorted(waiting)):
        while True:
            wants = [(queue, letter.decode(), 0) for letter in LETTERS.values()]
            token = session + number.to_bytes(4, "big")
            stepped = await tasks.step(shard, token, "", lease_ms=0, wants=wants)
            if stepped.next_due_ms is None or stepped.next_due_ms > stepped.now_ms:
                break


async def shed(tasks: Tasks, settings: Settings, shard: int) -> int:
    """
    Since Redis is nearly full, let some of the oldest tasks go that ended otherwise than by failure: none that ended
    less than a minute ago. Answers how many.
    """
    until = tasks.clock.now_ms() - YOUNG_MS
    many = int(await tasks.scripts.command("ZCARD", keys.ended(shard, False)))
    old = int(await tasks.scripts.command("ZCOUNT", keys.ended(shard, False), "-inf", until))
    return await sweep(tasks, settings, shard, many - min(old, SHED)) if old else 0


async def sweep(tasks: Tasks, settings: Settings, shard: int, most: int | None = None) -> int:
    """
    Let ended tasks leave the lists by age, number (*most* of those that did not fail; None: as the settings say) and
    their own time to live, and empty queues go. Answers how many tasks did.
    """
    total, most = 0, settings.max_finished if most is None else most
    while True:
        removed, more_ended = await tasks.scripts.call(
            shard,
            "sweep",
            int(settings.result_ttl_seconds * 1000),
            most,
            int(settings.failure_ttl_seconds * 1000),
            settings.max_failed,
            EVENTS_MS,
        )
        more_entries = await tasks.scripts.call(shard, "retire")
        total += int(removed)
        if not more_ended and not more_entries:
            return total


async def tidy(tasks: Tasks, shard: int) -> None:
    """Forget flow keys that nobody has used for a day, and what is left of lines in which nothing waits."""
    place = b""
    while True:
        place = await tasks.scripts.call(shard, "tidy", place, UNUSED_MS)
        if not place:
            return


async def prune(tasks: Tasks, shard: int, place: int) -> tuple[int, int]:
    """
    Take the ids of tasks that are gone out of the next bucket of the order of creation behind *place*.

    Answers the place to go on from, 0 when the end was reached; and how many ids it found that stay.
    """
    until = tasks.clock.now_ms() - YOUNG_MS
    reply = await tasks.scripts.command(
        "ZRANGEBYSCORE", keys.made(shard), f"({place}", until, "WITHSCORES", "LIMIT", 0, 1
    )
    if not reply:
        return 0, 0
    opened_ms, bucket = scored_pairs(reply)[0]
    left = int(await tasks.scripts.command("LLEN", keys.made_bucket(shard, bucket)))
    kept = 0
    while left > 0:
        length, seen, stay = await tasks.scripts.call(shard, "prune", bucket, RUNS_A_CALL)
        left, kept = left - seen if length else 0, kept + stay
    return int(opened_ms), kept
