"""
A schedule whose task knows its window: each run copies what was logged since the one before it, and archives it.

    taskpost up --handlers examples.nightly    # in one terminal
    python examples/nightly.py                 # in another

`{{ previous_fire_time }}` and `{{ fire_time }}` are filled in for each occurrence, so the windows meet without a gap,
also when one came late or was missed. A nightly one says `cron="0 3 * * *", timezone="Asia/Shanghai"` instead.
"""

from __future__ import annotations

import gzip
import tempfile
import time
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from service.client import Taskpost
from workers import task

NAME = "log-archive"
ARCHIVE = Path(tempfile.gettempdir()) / "taskpost-log-archive"


@task("logs.archive", pool="thread")
def archive(name: str, since: str, until: str) -> dict[str, str | int]:
    """Write the lines of a window into a file of its own; run again for the same window, it writes the same."""
    end = datetime.fromisoformat(until)
    start = datetime.fromisoformat(since) if since else end - timedelta(seconds=1)  # the first run has none before it
    seconds = int((end - start).total_seconds())
    lines = [f"{(start + timedelta(seconds=number)).isoformat()} a line\n" for number in range(seconds)]
    ARCHIVE.mkdir(exist_ok=True)
    place = ARCHIVE / f"{name}-{end:%Y%m%dT%H%M%S}.log.gz"
    place.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
    return {"since": since, "until": until, "lines": len(lines)}


def main() -> None:
    with Taskpost() as tasks:
        args = {"name": "{{ schedule }}", "since": "{{ previous_fire_time }}", "until": "{{ fire_time }}"}
        schedule = tasks.put_schedule(
            NAME, every_seconds=1, overlap="skip", max_runs=3, task={"name": "logs.archive", "args": args, "retries": 5}
        )
        print(f"{schedule.name}: {schedule.explanation}, {schedule.max_runs} times")
        while tasks.schedule(NAME).state != "ended":
            time.sleep(0.1)
        windows = []
        for run in reversed(tasks.schedule_runs(NAME)):
            if run.outcome != "fired":  # skipped, since the one before it still ran: the next window is longer
                continue
            done = tasks.result(run.task_id or "", wait=30)
            windows.append(done)
            print(f"{run.outcome}: from {done['since'] or 'the beginning'} until {done['until']}")
        meet = all(one["until"] == other["since"] for one, other in pairwise(windows))
        print(f"{len(windows)} windows meet without a gap: {meet}")
        tasks.delete_schedule(NAME)


if __name__ == "__main__":
    main()
