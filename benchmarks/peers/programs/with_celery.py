"""
Celery, as it was fastest of what was tried, and so that a task outlives its worker.

Late acknowledgement and rejection of what a lost child ran are what its guide names for tasks that must not be lost;
the visibility timeout stays at its default of an hour, since a shorter one runs long and delayed tasks twice. Of
prefetching 1 to unlimited, 64 was fastest. Rate limits, heartbeats and remote control are off, which only cost here.
"""

import os
import time
from functools import cache

import celery
import httpx
import stamps

app = celery.Celery("peer", broker=os.environ["PEER_URL"], backend=os.environ["PEER_URL"])
app.conf.update(
    task_acks_late=True, task_reject_on_worker_lost=True, worker_prefetch_multiplier=64,
    worker_disable_rate_limits=True, worker_enable_remote_control=False, broker_heartbeat=0,
    task_serializer="json", result_serializer="json", accept_content=["json"],
)  # fmt: skip


@app.task(name="nothing")
def nothing(a: int, b: int) -> int:
    stamps.note()
    return a + b


@app.task(name="sleep")
def sleep() -> None:
    time.sleep(stamps.SLEEP_SECONDS)
    stamps.note()


@app.task(name="hold")
def hold() -> None:
    stamps.note()
    time.sleep(stamps.HELD_SECONDS)


@cache
def client() -> httpx.Client:
    """Of this process; its connections are kept."""
    return httpx.Client(trust_env=False)


@app.task(name="call")
def call(url: str) -> int:
    status = client().post(url, json={"order": 17, "total": "9.90"}).status_code
    stamps.note()
    return status


def submit(name: str, **args: int) -> str:
    return str(app.tasks[name].delay(**args).id)


def submit_many(name: str, many: int, **args: int) -> None:
    """It has no way to send many at once: one producer, which is faster than `group`."""
    with app.producer_pool.acquire(block=True) as producer:
        for _ in range(many):
            app.tasks[name].apply_async(kwargs=args, producer=producer)
