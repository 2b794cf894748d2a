"""
WakaQ, which acknowledges nothing and keeps no results: what a killed worker ran is gone.

Handlers that wait are `async def`, 200 at once; the others run in four processes.
"""

import asyncio
import os
import time
from datetime import timedelta
from urllib.parse import urlsplit

import stamps
from wakaq import WakaQ

address = urlsplit(os.environ["PEER_URL"])
wakaq = WakaQ(
    queues=["peer"], host=address.hostname, port=address.port, concurrency=int(os.environ.get("PEER_PROCESSES", "2")),
    async_concurrency=200, wait_timeout=timedelta(seconds=1), worker_log_level=40,
)  # fmt: skip


@wakaq.task
def nothing(a: int, b: int) -> None:
    stamps.note()


@wakaq.task
async def sleep() -> None:
    await asyncio.sleep(stamps.SLEEP_SECONDS)
    stamps.note()


@wakaq.task
def hold() -> None:
    stamps.note()
    time.sleep(stamps.HELD_SECONDS)


TASKS = {"nothing": nothing, "sleep": sleep, "hold": hold}


def submit(name: str, **args: int) -> str:
    TASKS[name].delay(**args)
    return ""


def submit_many(name: str, many: int, **args: int) -> None:
    """It has no way to send many at once."""
    for _ in range(many):
        TASKS[name].delay(**args)
