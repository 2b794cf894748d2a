"""
taskiq on a stream, its broker for Redis that acknowledges; the one on a list loses what a killed worker ran.

Results are kept in Redis, as its tutorial does. What was not acknowledged comes again after `idle_timeout`, whose
default is ten minutes. The lock under which workers look for it ends after ten seconds: by default it never does, and
a worker that is killed while it holds the lock would stop all others for good.
"""

import asyncio
import os

import stamps
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

URL = os.environ["PEER_URL"]
results = RedisAsyncResultBackend(URL, result_ex_time=86400)
broker = RedisStreamBroker(URL, unacknowledged_lock_timeout=10).with_result_backend(results)


@broker.task("nothing")
async def nothing(a: int, b: int) -> int:
    stamps.note()
    return a + b


@broker.task("sleep")
async def sleep() -> None:
    await asyncio.sleep(stamps.SLEEP_SECONDS)
    stamps.note()


@broker.task("hold")
async def hold() -> None:
    stamps.note()
    await asyncio.sleep(stamps.HELD_SECONDS)


TASKS = {"nothing": nothing, "sleep": sleep, "hold": hold}


async def begin() -> None:
    await broker.startup()


async def submit(name: str, **args: int) -> str:
    return (await TASKS[name].kiq(**args)).task_id


async def submit_many(name: str, many: int, **args: int) -> None:
    """It has no way to send many at once: as many calls under way."""
    await asyncio.gather(*(TASKS[name].kiq(**args) for _ in range(many)))
