"""
Submit ten thousand tasks from asyncio, as fast as the API stores them, and wait for the last.

    taskpost up                  # in one terminal
    python examples/batch.py     # in another

`stream` takes submissions as it sends them: a million of them need no more memory than ten.
"""

import asyncio
import time
from collections.abc import Iterator

from service.client import AsyncTaskpost, Submission

MANY = 10_000


def submissions() -> Iterator[Submission]:
    for number in range(MANY):
        yield {"name": "demo.add", "args": {"a": number, "b": 1}, "tags": ["example"]}


async def main() -> None:
    async with AsyncTaskpost() as taskpost:
        started = time.perf_counter()
        last = None
        refused = 0
        async for receipt in taskpost.stream(submissions()):
            if receipt.task is None:
                refused += 1
                print(f"submission {receipt.index} was refused: {receipt.problem}")
            else:
                last = receipt.task
        seconds = time.perf_counter() - started
        print(f"{MANY - refused:,} tasks submitted in {seconds:.1f} s, {(MANY - refused) / seconds:,.0f} a second")
        if last is not None:
            done = await taskpost.wait(last, timeout_seconds=60)
            print(f"the last one {done.state}: {done.result}")
        for queue in await taskpost.queues():
            print(f"queue {queue.name}: {queue.queued:,} queued, {queue.running:,} running")


asyncio.run(main())
