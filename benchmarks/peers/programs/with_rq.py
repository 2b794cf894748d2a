"""
RQ with `SimpleWorker`, which runs tasks in its own process; its default starts a new process for each task.
"""

import os
import time

import stamps
from redis import Redis
from rq import Queue

queue = Queue(connection=Redis.from_url(os.environ["PEER_URL"]))


def nothing(a: int, b: int) -> int:
    stamps.note()
    return a + b


def hold() -> None:
    stamps.note()
    time.sleep(stamps.HELD_SECONDS)


def submit(name: str, **args: int) -> str:
    return queue.enqueue(f"with_rq.{name}", kwargs=args, result_ttl=86400, job_timeout=stamps.HELD_SECONDS).id


def submit_many(name: str, many: int, **args: int) -> None:
    prepared = [
        Queue.prepare_data(f"with_rq.{name}", kwargs=args, result_ttl=86400, timeout=stamps.HELD_SECONDS)
        for _ in range(many)
    ]
    queue.enqueue_many(prepared)
