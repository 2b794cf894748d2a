"""
A report every night, declared where its handler is; and those of the last days, made up for.

    taskpost up --handlers examples.daily_report    # in one terminal
    python examples/daily_report.py                 # in another

The worker publishes the schedule when it starts; `taskpost schedules show reports.daily` shows what comes next.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from service.client import Taskpost
from workers import cron, task

NIGHTLY = cron("0 3 * * *", tz="Asia/Shanghai", args={"day": "{{ fire_time | date }}"}, overlap="skip")


@task("reports.daily", schedule=NIGHTLY, retries=5)
async def daily(day: str) -> dict[str, str]:
    """The figures of the day before *day*, which began in Shanghai, whatever this machine's clock says."""
    return {"report": f"figures of the day before {day}"}


def main() -> None:
    with Taskpost() as tasks:
        schedule = tasks.schedule("reports.daily")
        print(f"{schedule.name}: {schedule.explanation}")
        print(f"next {schedule.next_run_local}, which is {schedule.next_run_at}")
        begun = tasks.backfill_schedule(schedule.name, datetime.now(UTC) - timedelta(days=3))
        while (backfill := tasks.backfill(schedule.name, begun.id)).state == "running":
            time.sleep(0.1)
        made = [run for run in tasks.schedule_runs(schedule.name) if run.outcome == "backfilled"]
        for run in reversed(made[: backfill.done]):
            print(tasks.result(run.task_id or "", wait=30)["report"])
        print(f"{backfill.done} of {backfill.total} made up for")


if __name__ == "__main__":
    main()
