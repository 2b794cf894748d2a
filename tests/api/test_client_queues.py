"""Queues and routes from Python and from the shell, against a live Taskpost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta

import httpx
import pytest

from service import cli
from service.client import (
    AsyncTaskpost,
    NoAnswer,
    NotFound,
    Refused,
    Route,
    StateConflict,
    Taskpost,
    VersionConflict,
)
from tests.api.test_client import Api, said
from tests.running import taskpost

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with taskpost("web", "worker", "scheduler") as url:
        yield url


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line; its exit status, standard output and standard error."""
    monkeypatch.setenv("TASKPOST_URL", url)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = cli.main(arguments)
        return status, *capsys.readouterr()

    return run


def test_a_queue_is_paused_set_up_and_resumed_from_python(url: str) -> None:
    """What holds a task is said, and it runs when that is gone; real workers and a real scheduler do it."""
    with Taskpost(url) as api:
        paused = api.pause_queue("py", reason="moving", by="ada")
        assert (True, "moving", "ada") == (paused.paused, paused.paused_reason, paused.paused_by)
        task = api.submit("demo.add", {"a": 2, "b": 3}, queue="py")
        assert "queue-paused" == api.explain(task.id).reasons[0].kind
        assert not api.resume_queue("py").paused
        assert 5 == api.wait(task, timeout_seconds=60).result
        changed = api.change_queue("py", concurrency=2, timeout_seconds=timedelta(minutes=1), callback=None)  # type: ignore[arg-type]
        assert {"concurrency": 2, "timeout_seconds": 60} == changed.settings
        assert changed == api.queue("py")
        with pytest.raises(VersionConflict):
            api.change_queue("py", if_version=paused.version, retries=1)
        assert 7 == api.change_queue("py", {"retries": 7}, if_version=changed.version).settings["retries"]
        assert "py" in [one.name for one in api.queues()]
        api.delete_queue("py")
        with pytest.raises(NotFound):
            api.delete_queue("py")


def test_a_queue_runs_no_more_at_once_than_it_may(url: str) -> None:
    """Over all workers, and all of it gets done: who waits for room is woken."""
    with Taskpost(url) as api:
        api.change_queue("narrow", concurrency=2)
        tasks = [api.submit("demo.sleep", {"seconds": 0.05}, queue="narrow") for _ in range(12)]
        seen = 0
        while not all(api.get(task.id).is_ended for task in tasks):
            seen = max(seen, api.queue("narrow").running)
        assert seen <= 2
        assert {"succeeded"} == {api.get(task.id).state for task in tasks}


def test_a_queue_is_drained_purged_and_scaled(url: str) -> None:
    """What waits is counted before it is cancelled."""
    with Taskpost(url) as api:
        for _ in range(3):
            api.submit("demo.add", {"a": 2, "b": 3}, queue="full", delay_seconds=3600)
        assert api.drain_queue("full").draining
        with pytest.raises(StateConflict, match="takes no tasks"):
            api.submit("demo.add", {"a": 2, "b": 3}, queue="full")
        with pytest.raises(StateConflict, match="3 scheduled"):
            api.delete_queue("full")
        assert (3, True) == ((count := api.count_purge("full")).matched, count.is_exact)
        work = api.purge_queue("full", rate_per_second=1000)
        for _ in range(2000):
            if work.is_over:
                break
            work = api.bulk(work.id)
        assert (3, 0) == (work.done, api.queue("full").scheduled)
        assert (2, 0) == (api.scale_queue("full", least=2).desired, api.scale_queue("full").desired)


async def test_the_asynchronous_client_says_the_same(url: str) -> None:
    """Each of its methods."""
    async with AsyncTaskpost(url) as api:
        assert (await api.pause_queue("later", by="ada")).paused
        assert (await api.drain_queue("later")).draining
        resumed = await api.resume_queue("later")
        assert (False, False) == (resumed.paused, resumed.draining)
        assert {"burst": 3, "rate": 5} == (await api.change_queue("later", rate=5, burst=3)).settings
        assert 5 == (await api.queue("later")).settings["rate"]
        assert "later" in [one.name for one in await api.queues()]
        assert 0 == (await api.count_purge("later")).matched
        assert "cancel" == (await api.purge_queue("later")).action
        assert 0 == (await api.scale_queue("later")).desired
        await api.delete_queue("later")
        routes = [Route("none:*", "later", 3)]
        assert routes == await api.set_routes(routes)
        assert routes == await api.routes()
        assert [] == await api.set_routes([])


def test_a_guarded_change_and_a_purge_are_sent_once() -> None:
    """Nobody knows whether one whose answer was lost was made; a plain change may be repeated."""
    shown = {"name": "mail", "settings": {}}
    lost, answer = httpx.ReadError("lost"), said(shown)
    assert "mail" == Api(lost, answer).client().change_queue("mail", retries=1).name
    with pytest.raises(NoAnswer):
        Api(lost, answer).client().change_queue("mail", if_version="1", retries=1)
    with pytest.raises(NoAnswer):
        Api(lost, answer).client().purge_queue("mail")


def test_queues_are_operated_from_the_shell(run: Run) -> None:
    """Set up, paused with the reason, listed, shown, resumed, drained, deleted; --json for programs."""
    status, out, _ = run("queues", "set", "cli", "--concurrency", "10", "--rate", "500/1h", "--timeout", "30s")
    assert 0 == status, out
    assert {"concurrency", "rate", "period", "timeout"} <= set(out.split())
    run("queues", "pause", "cli", "--reason", "the provider is down", "--by", "ada")
    _, out, _ = run("queues")
    [line] = [line for line in out.splitlines() if line.startswith("cli ")]
    assert "paused" in line
    assert "10 at once, 500 in 1 h" in line
    assert "by ada: the provider is down" in run("queues", "show", "cli")[1]
    assert not json.loads(run("queues", "resume", "cli", "--json")[1])["paused"]
    assert "draining" in run("queues", "drain", "cli")[1].splitlines()[0]
    assert {"timeout_seconds": 30} == json.loads(
        run("queues", "set", "cli", "--concurrency", "default", "--rate", "default", "--json")[1]
    )["settings"]
    assert (0, "2\n", "") == run("queues", "scale", "cli", "--min", "2")
    assert "0 tasks would be meant" in run("queues", "purge", "cli")[1]
    assert (0, "", "") == run("queues", "delete", "cli")
    status, _, err = run("queues", "show", "cli")
    assert (2, True) == (status, 'there is no queue "cli"' in err)


def test_a_purge_from_the_shell_cancels_what_waits(run: Run) -> None:
    """With --yes, and it waits for the end."""
    _, id_, _ = run("submit", "demo.add", "a=2", "b=3", "--queue", "gone", "--delay", "1h", "--quiet")
    status, out, _ = run("queues", "purge", "gone", "--yes")
    assert (0, True) == (status, "1 done" in out)
    assert "cancelled" in run("get", id_.strip())[1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["pause"], "which queue?"),
        (["set", "mail"], "set takes at least one of --description"),
        (["show", "mail", "--reason", "x"], "--reason goes with pause and drain"),
        (["pause", "mail", "--min", "1"], "--min goes with scale"),
    ],
)
def test_what_the_shell_cannot_do_is_said(run: Run, arguments: list[str], told: str) -> None:
    """With what it needs."""
    status, _, err = run("queues", *arguments)
    assert (2, True) == (status, told in err)


def test_a_rate_that_cannot_be_read_is_said(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """With what is needed."""
    with pytest.raises(SystemExit):
        run("queues", "set", "mail", "--rate", "often")
    assert "needs a rate such as 500/1h" in capsys.readouterr().err


def test_routes_are_listed_and_replaced_from_the_shell(run: Run) -> None:
    """And count for the next task."""
    assert "no routes" in run("routes")[2]
    _, out, _ = run("routes", "set", "demo.*=routed:7", "https://a.example/?x=*=urls")
    assert ["demo.*", "routed", "7"] == out.splitlines()[1].split()
    assert ["https://a.example/?x=*", "urls"] == out.splitlines()[2].split()
    assert '"routed"' in run("submit", "demo.add", "a=2", "b=3", "--json")[1].replace(" ", "")
    assert "no routes" in run("routes", "set")[2]
    assert (2, True) == ((found := run("routes", "list", "a=b"))[0], "taskpost routes set" in found[2])
    with pytest.raises((SystemExit, Refused)):
        run("routes", "set", "no-queue")
