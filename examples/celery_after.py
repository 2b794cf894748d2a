"""
The module of `celery_before.py`, moved over.

    TASKPOST_MAX_TASKS=1000 TASKPOST_MAX_MEMORY_MB=500 taskpost up --handlers examples.celery_after
    python examples/celery_after.py

Late acknowledgement, requeueing of lost tasks, and a prefetch of one are how it always works: there is nothing to set.
"""

from __future__ import annotations

from workers import Context, Fail, Failed, Policy, Retry, SoftTimeLimitExceeded, task


def gave_up(ctx: Context, outcome: Failed) -> None:
    ctx.log.error("gave up: %s", outcome.error["message"])


careful = Policy(
    retries=5,
    retry_on=(OSError,),
    backoff={"kind": "exponential", "base_seconds": 1, "cap_seconds": 600, "jitter": "full"},
    on_failure=gave_up,
)


@task("shop.export", policy=careful, soft_timeout=50, timeout=60)
def export(ctx: Context, day: str, rows: int = 3) -> dict[str, int | str]:
    total = 0
    try:
        for row in range(1, rows + 1):
            total += row
            ctx.progress(row, rows)
    except SoftTimeLimitExceeded:
        ctx.log.warning("the export of %s took too long", day)
        raise
    return {"day": day, "total": total}


@task("shop.charge", queue="payments", max_crashes=0, result_ttl=0, retries=3)
def charge(ctx: Context, order: str, cents: int) -> None:
    if cents <= 0:
        raise Fail(f"order {order} costs nothing")
    if ctx.attempt == 1:
        raise Retry("the bank is busy", after=0.1)


def main() -> None:
    handle = export.submit_sync("2026-11-22", rows=4)
    print(handle.get(timeout=30))
    charge.options(delay=0.1).submit_sync("o-17", 990)


if __name__ == "__main__":
    main()
