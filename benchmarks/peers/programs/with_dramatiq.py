"""
dramatiq, whose middleware stays as it comes, but for the metrics server and the like that others would need to ask for.

It keeps no results unless told to, and is not told to: its figures are without them.
"""

import os
import time

import dramatiq
import stamps
from dramatiq.brokers.redis import RedisBroker

broker = RedisBroker(url=os.environ["PEER_URL"])
dramatiq.set_broker(broker)


@dramatiq.actor
def nothing(a: int, b: int) -> None:
    stamps.note()


@dramatiq.actor
def sleep() -> None:
    time.sleep(stamps.SLEEP_SECONDS)
    stamps.note()


@dramatiq.actor(time_limit=stamps.HELD_SECONDS * 1000)
def hold() -> None:
    stamps.note()
    time.sleep(stamps.HELD_SECONDS)


def submit(name: str, **args: int) -> str:
    return str(broker.get_actor(name).send(**args).message_id)


def submit_many(name: str, many: int, **args: int) -> None:
    """Its broker for Redis has no way to send many at once."""
    actor = broker.get_actor(name)
    for _ in range(many):
        actor.send(**args)
