"""
A module of Celery tasks, as one meets it; `celery_after.py` is the same with Taskpost.

    pip install "celery[redis]"
    celery -A examples.celery_before worker -c 4 --prefetch-multiplier 1
    python examples/celery_before.py

Nothing of Taskpost imports this file.
"""

from __future__ import annotations

import logging

from celery import Celery, Task
from celery.exceptions import Reject, SoftTimeLimitExceeded

app = Celery("shop", broker="redis://127.0.0.1:6379/0", backend="redis://127.0.0.1:6379/0")
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    worker_max_tasks_per_child=1000,
    worker_max_memory_per_child=500_000,
    broker_transport_options={"visibility_timeout": 3600},
    result_expires=86_400,
)
log = logging.getLogger(__name__)


class Careful(Task):
    """What the tasks of the shop have in common."""

    autoretry_for = (OSError,)
    retry_backoff = 1
    retry_backoff_max = 600
    retry_jitter = True
    max_retries = 5

    def on_failure(self, exc, task_id, args, kwargs, einfo):  # noqa: ARG002 - Celery calls it so
        log.error("task %s gave up: %s", task_id, exc)


@app.task(bind=True, base=Careful, name="shop.export", soft_time_limit=50, time_limit=60)
def export(self, day, rows=3):
    total = 0
    try:
        for row in range(1, rows + 1):
            total += row
            self.update_state(state="PROGRESS", meta={"current": row, "total": rows})
    except SoftTimeLimitExceeded:
        log.warning("the export of %s took too long", day)
        raise
    return {"day": day, "total": total}


@app.task(bind=True, name="shop.charge", acks_late=False, ignore_result=True, max_retries=3)
def charge(self, order, cents):
    if cents <= 0:
        raise Reject(f"order {order} costs nothing", requeue=False)
    if self.request.retries < 1:
        raise self.retry(countdown=0.1)


if __name__ == "__main__":
    result = export.apply_async(args=["2026-11-22"], kwargs={"rows": 4})
    print(result.get(timeout=30))
    charge.apply_async(args=["o-17", 990], countdown=0.1, queue="payments")
