"""
Tasks as they move, for the person who looks at the terminal of `taskpost up`.

Owns how many lines a moment may have. Refuses to write anything to Redis.
The fact to know: thousands of tasks a second cost a summary, not thousands of lines and reads.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime

from service.settings import Settings
from service.store import Store
from service.terminal import Terminal

MOST_LINES = 40  # at a time
REST_SECONDS = 0.2  # between two times


async def watch(settings: Settings, terminal: Terminal) -> None:
    """
    Show each task that moves, from now on.

    Raises:
        StoreUnavailable: Redis went away; call again to go on from then.
    """
    store = await Store.open(settings)
    try:
        await show_events(store, terminal)
    finally:
        await store.close()


async def show_events(store: Store, terminal: Terminal) -> None:
    waiting: list[tuple[str, bytes]] = []
    arrived = asyncio.Event()

    async def collect() -> None:
        async for events in store.events.follow():
            waiting.extend(event for event in events if event[0] not in ("progress", "log"))
            arrived.set()

    collecting = asyncio.create_task(collect())
    collecting.add_done_callback(lambda _: arrived.set())
    try:
        while not collecting.done():
            await arrived.wait()
            arrived.clear()
            events, waiting[:] = waiting[:], []
            await show(events, store, terminal)
            await asyncio.sleep(REST_SECONDS)
        await collecting
    finally:
        collecting.cancel()


async def show(events: list[tuple[str, bytes]], store: Store, terminal: Terminal) -> None:
    """A line each, and a summary of those that are too many to read."""
    shown, rest = events[:MOST_LINES], events[MOST_LINES:]
    if shown:
        tasks = await store.tasks.read([id_ for _, id_ in shown])
        now = datetime.now().astimezone()
        for (event, id_), task in zip(shown, tasks, strict=True):
            terminal.task(event, task, id_, now)
    if rest:
        terminal.more(Counter(event for event, _ in rest))
