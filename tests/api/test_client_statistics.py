"""What programs and the command line are told of how tasks went, against a live Taskpost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from service import cli
from service.cli_stats import bars
from service.client import AsyncTaskpost, Refused, Taskpost
from service.client.statistics import query_of
from tests.running import taskpost

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A Taskpost that has done five tasks of the queue `mail`, one of them badly."""
    with taskpost("web", "worker", "scheduler") as url, Taskpost(url) as client:
        for n in range(4):
            client.submit("demo.add", {"a": n, "b": 0}, queue="mail", wait=20)
        client.submit("demo.flaky", {"fail_times": 5}, queue="mail", retries=0, wait=20)
        yield url


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line; its exit status, standard output and standard error."""
    monkeypatch.setenv("TASKPOST_URL", url)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = cli.main(arguments)
        return status, *capsys.readouterr()

    return run


def test_programs_read_what_tasks_did(url: str) -> None:
    """Totals, queues, names and errors, typed; of another time, there was nothing."""
    with Taskpost(url) as client:
        hour = client.stats()
        told = hour.totals
        assert (5, 4, 1, 0.2) == (told.submitted, told.succeeded, told.failed, told.error_rate)
        assert (5, 60) == (hour.totals.run.count, hour.step_seconds)
        assert ["demo.flaky"] == [one.name for one in hour.failing]
        assert 4 == client.stats(name="demo.add", last=timedelta(minutes=10)).totals.succeeded
        before = datetime.now(UTC) - timedelta(hours=3)
        assert 0 == client.stats(since=before, until=before + timedelta(hours=1)).totals.submitted
        with pytest.raises(Refused, match="step_seconds"):
            client.stats(step=90)


def test_the_scheduler_notes_how_much_there_is(url: str) -> None:
    """Within a minute, without anybody asking for it."""
    deadline = time.monotonic() + 90
    with Taskpost(url) as client:
        client.submit("demo.add", {"a": 1, "b": 0}, queue="later", delay_seconds=3600)
        while not any(point.scheduled for point in client.stats(queue="later").series):
            assert time.monotonic() < deadline
            time.sleep(0.5)


async def test_the_async_client_does_the_same(url: str) -> None:
    """Awaited; and how everything is."""
    async with AsyncTaskpost(url) as client:
        assert 4 == (await client.stats(queue="mail")).totals.succeeded
        overview = await client.overview()
    assert (1, 1, 0) == (overview.workers.live, overview.redis.servers, overview.tasks.running)
    assert overview.redis.server.startswith("valkey ")


def test_a_period_is_said_in_the_contracts_words() -> None:
    """A time without a zone is refused before anything is sent."""
    at = datetime(2026, 11, 22, 9, tzinfo=UTC)
    assert {"from": "2026-11-22T09:00:00Z", "last_seconds": "90", "top": "3"} == query_of(
        {"since": at, "until": None, "last": 90.0, "top": 3}
    )
    with pytest.raises(ValueError, match="since=2026-11-22T00:00:00: needs a zone"):
        query_of({"since": datetime.fromisoformat("2026-11-22")})


def test_the_command_line_shows_what_tasks_did(run: Run) -> None:
    """In words and bars; with --json as the API says it."""
    status, out, err = run("stats", "--queue", "mail")
    assert (0, "") == (status, err)
    for said in ("4 succeeded, 1 failed (20.0%)", "demo.add", "FAILING", "each bar   1 min", "at most"):
        assert said in out
    status, out, _ = run("stats", "--last", "10m", "--json")
    assert (0, 5) == (status, json.loads(out)["totals"]["started"])
    status, _, err = run("stats", "--last", "10m", "--since", "2026-11-22T09:00:00Z")
    assert 2 == status
    assert "last_seconds" in err


def test_the_command_line_shows_how_everything_is(run: Run) -> None:
    """And by its exit status that something should be mended: this Redis keeps nothing on disk."""
    status, out, _ = run("overview")
    assert 1 == status
    assert "! Redis keeps no append-only file" in out
    assert "1; slots: " in out
    assert "valkey " in out
    assert ["version", "shards"] == list(json.loads(run("overview", "--json")[1]))[:2]


def test_a_long_series_fits_into_a_line() -> None:
    """Whatever happened in it is seen."""
    line = bars([0] * 100 + [1] + [0] * 59 + [800])
    assert len(line.partition("  at")[0]) <= 72
    assert {" ", "▂", "█"} == set(line.partition("  at most")[0]) | {" "}
    assert "nothing" == bars([0, 0]) == bars([])


async def test_who_asks_is_told_what_was_slow(url: str, run: Run) -> None:
    """By both clients and by the command line; where nothing was, it says so."""
    deadline = time.monotonic() + 60
    with Taskpost(url) as client:
        task = client.submit("demo.sleep", {"seconds": 0.6}, queue="late", wait=20)
        while not (found := client.slow(last=timedelta(hours=1), queue="late").items):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert (task.id, "demo.sleep", 0.5) == (found[0].task_id, found[0].name, found[0].threshold_seconds)
    assert found[0].run_seconds >= 0.599
    assert found[0].busy_seconds is not None
    async with AsyncTaskpost(url) as client:
        assert found == (await client.slow(queue="late")).items
    status, out, _ = run("slow", "--queue", "late")
    assert (0, True, True) == (status, task.id in out, "COMPUTED" in out)
    assert task.id == json.loads(run("slow", "--last", "10m", "--json")[1])["items"][0]["task_id"]
    assert "Nothing was slow from " in run("slow", "--name", "nobody")[1]
    assert "1 slow" in run("stats", "--queue", "late")[1]
