"""
The Lua scripts: read from `lua/`, and called.

Each is shared.lua, writes.lua and lines.lua plus its own file, with endings.lua and claims.lua before it where it needs
them, and changes state in one step for many tasks. Every call may be sent again: the scripts see to that. Owns the
retries of a call; refuses to know what the calls mean.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from service.errors import StoreUnavailable
from service.meter import Meter
from service.store import keys
from service.store.connection import FAILURES, Client, is_noscript, translated

FOLDER = Path(__file__).parent / "lua"
NAMES = (
    "submit", "step", "amend", "extend", "beat", "reap", "end", "progress", "log", "checkpoint", "read", "attempts",
    "forget", "sweep", "retire", "flow", "tidy", "prune", "replace", "limit", "yielding", "tell", "nudge", "save",
    "due", "fire", "backfill", "fill", "abandon", "spawn", "discard", "reserve", "confirm",
    "calls", "probe", "mend", "gauge", "condense", "history", "oldest", "total", "ration", "slow", "slowest",
)  # fmt: skip
# Finishing needs memory too: only scripts that take in work may be refused for want of it.
MAKES_TASKS = ("submit", "fire", "fill", "spawn")
ENDS_TASKS = ("submit", "step", "end", "reap", "log", "forget", "discard")  # or read what endings.lua keeps
ADDS_WORK = (*MAKES_TASKS, "reserve")
PATIENCE_SECONDS = 1.5  # who asks is answered within two seconds, also while Redis hangs


def parts_before(name: str) -> tuple[str, ...]:
    """The files that stand before the script *name*, each of whose functions is made at every call."""
    endings = ("endings",) if name in ENDS_TASKS else ()
    claims = ("claims",) if name in MAKES_TASKS else ()
    return ("shared", "writes", "lines", *endings, *claims)


class Script:
    """The text of one script, as the server runs it, and its digest."""

    def __init__(self, name: str) -> None:
        first = "#!lua\n" if name in ADDS_WORK else "#!lua flags=allow-oom\n"
        parts = [first, *((FOLDER / f"{part}.lua").read_text() for part in (*parts_before(name), name))]
        self.name = name
        self.text = "".join(parts)
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


SCRIPTS = {name: Script(name) for name in NAMES}


class Scripts:
    """Calls scripts on the shard they are for."""

    def __init__(self, client: Client, most_in_flight: int) -> None:
        self.client = client
        self.meter = Meter()
        self.patience_seconds = PATIENCE_SECONDS
        # The library refuses a command when its pool is used up; here it waits its turn instead.
        self.turns = asyncio.Semaphore(most_in_flight)

    async def call(self, shard: int, name: str, *args: Any) -> Any:
        """
        Run script *name* on *shard*; the same call is sent again, as long as our patience lasts, while Redis is away.

        Raises:
            StoreUnavailable: no answer came in that time; the call may have taken effect.
            StoreFull: Redis is at its memory limit; nothing changed.
        """
        script, meter = SCRIPTS[name], self.meter
        loop = asyncio.get_running_loop()
        began, pause = loop.time(), 0.02
        deadline = began + self.patience_seconds
        meter.count("taskpost_script_calls_total", name)
        while True:
            try:
                reply = await self.once(script, shard, args, deadline)
                meter.count("taskpost_script_seconds_total", name, by=loop.time() - began)
                return reply
            except StoreUnavailable:
                meter.count("taskpost_script_failures_total", name)
                # Full jitter: processes that lost Redis together must not return together.
                nap = pause * random.random()
                if loop.time() + nap >= deadline:
                    raise
                await asyncio.sleep(nap)
                pause = min(pause * 2, 0.5)

    async def command(self, *args: Any) -> Any:
        """A plain command, sent once. Raises as `call` does."""
        try:
            async with asyncio.timeout(self.patience_seconds), self.turns:
                return await self.client.execute_command(*args)
        except FAILURES as exc:
            raise translated(exc) from exc

    async def once(self, script: Script, shard: int, args: tuple[Any, ...], deadline: float) -> Any:
        """Send the call once. Raises as `call` does."""
        named = (2, keys.conf(shard), keys.none(shard), keys.prefix(shard), *args)
        try:
            async with asyncio.timeout_at(deadline), self.turns:
                try:
                    return await self.client.execute_command("EVALSHA", script.sha, *named)
                except RedisError as exc:
                    if not is_noscript(exc):
                        raise
                    return await self.client.execute_command("EVAL", script.text, *named)
        except FAILURES as exc:
            raise translated(exc) from exc
