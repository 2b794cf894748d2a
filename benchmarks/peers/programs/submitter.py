"""
Submits tasks to a peer from its own environment: `python submitter.py with_celery`.

Reads one JSON object a line and answers each with a line:
  {"submit": name, "many": N, "args": {…}}  N tasks, by the peer's way for many; null for the usual arguments
  {"bulk_seconds": S}                       hundreds at a time for S seconds -> how many, how many a second
  {"exchanges": N, "seconds": S}            one task at a time, each once the one before ran -> when they were sent, ns
A module `with_*` has `submit(name, **args)` and `submit_many(name, many, **args)`, plain or `async def`, and may have
`async def begin()`.
"""

import asyncio
import inspect
import json
import os
import random
import sys
import time
from importlib import import_module
from pathlib import Path

A_CALL = 100
AT_ONCE = 8  # calls under way, where the peer is asynchronous
LOOK_SECONDS = 0.0005
RUN_SECONDS = 60
ARGS = {"nothing": {"a": 2, "b": 3}}


class Submitter:
    def __init__(self, module: str) -> None:
        self.peer = import_module(module)
        self.is_async = inspect.iscoroutinefunction(self.peer.submit_many)

    async def begin(self) -> None:
        if hasattr(self.peer, "begin"):
            await self.peer.begin()

    async def answer(self, asked):
        if "submit" in asked:
            name, left = asked["submit"], asked["many"]
            while left:
                await self.many(name, min(A_CALL, left), asked["args"])
                left -= min(A_CALL, left)
            return {}
        if "bulk_seconds" in asked:
            return await self.bulk(asked["bulk_seconds"])
        return {"sent_ns": await self.exchanges(asked["exchanges"], asked["seconds"])}

    async def many(self, name: str, many: int, args: dict[str, str] | None = None) -> None:
        waiting = self.peer.submit_many(name, many, **(args or ARGS.get(name, {})))
        if self.is_async:
            await waiting

    async def bulk(self, seconds: float) -> dict[str, float]:
        began, calls = time.perf_counter(), 0

        async def keep_calling() -> None:
            nonlocal calls
            while time.perf_counter() - began < seconds:
                await self.many("nothing", A_CALL)
                calls += 1

        await asyncio.gather(*(keep_calling() for _ in range(AT_ONCE if self.is_async else 1)))
        return {"tasks": calls * A_CALL, "a_second": calls * A_CALL / (time.perf_counter() - began)}

    async def exchanges(self, most: int, seconds: float) -> list[int]:
        """Until *most* were sent or the time is over, with pauses that are never in step with anything."""
        sent, began = [], time.monotonic()
        stamps = Path(os.environ["PEER_STAMPS"])
        before = stamps.stat().st_size // 8
        while len(sent) < most and (time.monotonic() - began < seconds or len(sent) < 3):
            sent.append(time.time_ns())
            waiting = self.peer.submit("nothing", a=2, b=3)
            if inspect.isawaitable(waiting):
                await waiting
            late = time.monotonic() + RUN_SECONDS
            while stamps.stat().st_size // 8 < before + len(sent):
                if time.monotonic() > late:
                    sys.exit(f"a task did not run within {RUN_SECONDS} s on an idle system")
                await asyncio.sleep(LOOK_SECONDS)
            await asyncio.sleep(0.004 + 0.008 * random.random())
        return sent


async def main() -> None:
    submitter = Submitter(sys.argv[1])
    await submitter.begin()
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(await submitter.answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
