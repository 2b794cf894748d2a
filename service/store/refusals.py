"""
Why a queue did not take a submission: it is drained, or full. What submit.lua says in a byte, in words.
"""

from __future__ import annotations

from service.errors import Problem, QueueDraining, QueueFull
from service.task import queue_of, split_queue

CLOSED, FULL = ord("3"), ord("4")
FULL_FOR = {"Retry-After": "1"}


async def keep_all(shard: int, queue: str, many: int) -> None:
    """What is done about *many* tasks over the length of *queue* in *shard*, where nobody drops any."""


def refusal_of(status: int, record: bytes) -> Problem | None:
    """Why the queue of *record* did not take it, None when it did; *status* is that of submit.lua."""
    if status not in (CLOSED, FULL):
        return None
    _, queue = split_queue(queue_of(record))
    if status == CLOSED:
        return QueueDraining(f"the queue {queue} takes no tasks until it is resumed: POST /v1/queues/{queue}/resume")
    detail = f"the queue {queue} holds as many waiting tasks as its max_length allows; send it again later"
    return QueueFull(detail, headers=FULL_FOR)
