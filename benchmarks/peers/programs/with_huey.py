"""
huey, whose consumer waits for Redis instead of asking it again and again (`blocking`), and keeps results.
"""

import os
import time

import stamps
from huey import RedisHuey

huey = RedisHuey("peer", url=os.environ["PEER_URL"], blocking=True, read_timeout=1)


@huey.task(name="nothing")
def nothing(a: int, b: int) -> int:
    stamps.note()
    return a + b


@huey.task(name="sleep")
def sleep() -> None:
    time.sleep(stamps.SLEEP_SECONDS)
    stamps.note()


@huey.task(name="hold")
def hold() -> None:
    stamps.note()
    time.sleep(stamps.HELD_SECONDS)


TASKS = {"nothing": nothing, "sleep": sleep, "hold": hold}


def submit(name: str, **args: int) -> str:
    return str(TASKS[name](**args).id)


def submit_many(name: str, many: int, **args: int) -> None:
    """It has no way to send many at once."""
    for _ in range(many):
        TASKS[name](**args)
