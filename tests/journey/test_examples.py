"""
The examples do what they say, against a running Taskpost whose worker has loaded their handlers.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import taskpost

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
WITH_HANDLERS = ("thumbnails", "report", "scrape", "imports", "celery_after", "nightly", "daily_report")
SAID = {
    "thumbnails": ["0.small.png: 64 x 32", "3.small.png: 64 x 56"],
    "report": [" of 8: 2026-11-0", "{'month': '2026-11', 'total': 356.4}"],
    "scrape": ["Page /0", "Page /11", "asked for patience"],
    "imports": ["the last run began at row 400", "processes lost: 1", "1000 rows in the table, 250250 al"],
    "celery_after": ["{'day': '2026-11-22', 'total': 10}"],
    "daily_report": [
        "At 03:00 every day, Asia/Shanghai",
        "T03:00:00+08:00",
        "figures of the day before 20",
        "3 of 3 made up",
    ],
    "nightly": ["log-archive: Every second, 3 times", "from the beginning until", "3 windows meet without a gap: True"],
    "later": ["succeeded: {'pages': 12}", "the endpoint stops at page", "the second one is cancelled"],
    "once": ["the second is the first: True", "the third is another: True", "once, version 5"],
    "batch": ["10,000 tasks submitted", "the last one succeeded: 10000"],
    "tenants": ["24 tasks done, never more than 2 of them", "0 run and 0 wait now"],
    "submit_and_wait": ["demo.add: succeeded, result 5", "succeeded in attempt 3", "refused:"],
}
NOT_RUN = {"celery_before"}  # needs Celery and a worker of it


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    handlers = ",".join(["workers.demo", *(f"examples.{name}" for name in WITH_HANDLERS)])
    with taskpost("web", "worker", "scheduler", handlers=handlers) as started:
        yield started


@pytest.mark.parametrize("name", SAID)
def test_an_example_runs_and_says_what_it_did(url: str, name: str) -> None:
    """Whoever copies the two commands of its docstring sees the end of the work."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("TASKPOST_")}
    env |= {"TASKPOST_URL": url, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(EXAMPLES / f"{name}.py")]
    ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert (0, "") == (ran.returncode, ran.stderr)
    assert [] == [text for text in SAID[name] if text not in ran.stdout], ran.stdout


def test_every_example_is_tried() -> None:
    """No example rots unseen."""
    assert SAID.keys() | NOT_RUN == {path.stem for path in EXAMPLES.glob("*.py")}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_python_and_tells_how_to_run_it(path: Path) -> None:
    """The docstring has the commands."""
    code = compile(path.read_text(), str(path), "exec")
    assert f"examples/{path.name}" in str(code.co_consts[0])
