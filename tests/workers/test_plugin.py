"""The pytest plugin, as a project that has Taskpost installed meets it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]

TESTS = """
import pytest
from workers import Context, Retry, task
from workers.testing import Submitted

@task("double", pool="thread")
def double(number: int) -> int:
    return number * 2

@task("load", retries=5)
def load(ctx: Context) -> int:
    row = ctx.last_checkpoint or 0
    ctx.checkpoint(row + 1)
    if row < 3:
        raise Retry("interrupted")
    return row

def test_eager(taskpost_eager):
    assert double.submit_sync(4).get() == 8
    assert load.submit_sync().get() == 3

def test_from_a_checkpoint():
    assert load(Context(id="1", last_checkpoint=7)) == 7

def test_noted(taskpost_submitted):
    handle = double.options(delay=60).submit_sync(4)
    assert taskpost_submitted == [Submitted("double", {"number": 4}, {"delay_seconds": 60})]
    assert handle.state == "queued" and not handle.ready()
    assert handle.cancel() == "cancelled"

def test_both(taskpost_eager, taskpost_submitted):
    assert double.submit_sync(4).get() == 8
    assert len(taskpost_submitted) == 1
"""


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_the_fixtures_work_in_a_project_of_its_own(pytester) -> None:  # type: ignore[no-untyped-def]
    """Eager, noted, and both together."""
    pytester.makepyfile(TESTS)
    # An installed distribution brings the plugin along; from a bare checkout it is named.
    named = () if entry_points(group="pytest11", name="taskpost") else ("-p", "workers.testing")
    ran = pytester.runpytest_subprocess(*named, "-p", "no:cacheprovider", f"--rootdir={pytester.path}")
    ran.assert_outcomes(passed=4)


def test_pytest_finds_the_plugin() -> None:
    """It comes with the distribution."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"taskpost": "workers.testing"} == project["entry-points"]["pytest11"]


def test_the_plugin_loads_neither_client_nor_store_until_it_is_used() -> None:
    """pytest loads it in every run of a project, so it must be light."""
    code = "import sys, workers.testing; print({'httpx', 'redis', 'aiohttp', 'service.client'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "set()" == ran.stdout.strip()
