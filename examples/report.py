"""
A long report that says how far it is, while somebody watches.

    taskpost up --handlers examples.report    # in one terminal
    python examples/report.py                 # in another

`GET /v1/tasks/{id}` shows the same progress, so a web page can draw a bar of it.
"""

from __future__ import annotations

import asyncio
import time

from workers import Context, task


@task("report.month", timeout=60)
async def report(ctx: Context, month: str, days: int = 5) -> dict[str, float | str]:
    """Add up the days of *month*."""
    total = 0.0
    for day in range(1, days + 1):
        await asyncio.sleep(0.1)  # the query of one day
        total += 9.9 * day
        await ctx.progress(day, days, f"{month}-{day:02}")
    return {"month": month, "total": round(total, 2)}


def main() -> None:
    handle = report.submit_sync("2026-11", 8)
    seen = None
    while not handle.ready():
        if (progress := handle.task.progress) is not None and progress.message != seen:
            seen = progress.message
            print(f"{progress.current:g} of {progress.total or 0:g}: {seen}")
        time.sleep(0.05)
    print(handle.get(timeout=30))


if __name__ == "__main__":
    main()
