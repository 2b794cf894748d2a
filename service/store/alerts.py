"""
What the operator is told, as a task: a signed call of `TASKPOST_ALERT_URL`, tried again like a callback.

The fact to know: an alert has an idempotency key, so whoever has reason to make one makes it, and it is made once.
"""

from __future__ import annotations

from typing import Any

import orjson

from service.retry import CALLBACK_DELAYS
from service.store.tasks import New, Tasks, idempotency_of
from service.task import (
    CALLBACK_QUEUE,
    DEFAULT_PRIORITY,
    WAITING,
    pack_header,
    pack_submission,
    rfc3339,
    stored_queue,
)


async def alert(tasks: Tasks, namespace: str, kind: str, key: str, told: dict[str, Any]) -> None:
    """
    Tell the operator that *kind* happened, once for each *key*; nothing when nobody is to be told.

    Raises:
        StoreUnavailable, StoreFull: try again, it is made once.
    """
    url = tasks.settings.alert_url
    if not url:
        return
    submission = {
        "url": url,
        "body": {"type": kind, "timestamp": rfc3339(tasks.clock.now_ms()), "data": {"namespace": namespace, **told}},
        "retries": len(CALLBACK_DELAYS),
        "backoff": {"delays_seconds": CALLBACK_DELAYS},
        "tags": ["alert"],
    }
    header = pack_header(
        state=WAITING,
        priority=DEFAULT_PRIORITY,
        lane="url",
        time_ms=0,
        max_crashes=tasks.settings.max_crashes,
        queue=stored_queue(namespace, CALLBACK_QUEUE),
    )
    hashed = idempotency_of(namespace, f"alert {kind} {key}", orjson.dumps(key))
    await tasks.submit([New(header + pack_submission(submission), hashed)])
