"""What programs and the command line can do with flow keys and groups, against a live Taskpost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator

import pytest

from service import cli
from service.client import AsyncTaskpost, NotFound, Refused, Taskpost
from tests.running import taskpost

Run = Callable[..., tuple[int, str, str]]
KEY = "api.example.com"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A Taskpost that knows the demonstration handlers, and whose worker serves another queue than the tasks'."""
    with taskpost("web", "worker", queues="other") as url:
        yield url


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line; its exit status, standard output and standard error."""
    monkeypatch.setenv("TASKPOST_URL", url)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = cli.main(arguments)
        return status, *capsys.readouterr()

    return run


def test_a_program_limits_what_it_submits(url: str) -> None:
    """The key with its limits, or alone; then it changes, pauses and reads it."""
    with Taskpost(url) as client:
        task = client.submit("demo.add", {"a": 1, "b": 2}, flow={"key": "sync", "concurrency": 2}, group="t1")
        assert ({"key": "sync", "concurrency": 2}, "t1") == (task.flow, task.group)
        assert {"key": "sync"} == client.submit("demo.add", {"a": 1, "b": 2}, flow="sync").flow
        flow = client.change_flow("sync", concurrency=None, rate=10, period_seconds=60, paused=True)
        assert (None, 10, 60, True, 2) == (flow.concurrency, flow.rate, flow.period_seconds, flow.paused, flow.waiting)
        assert flow == client.flow("sync") == client.reset_flow("sync")
        assert "sync" in [one.key for one in client.flows()]
        assert [task.id] == [one.id for one in client.list(group="t1")]
        group = client.weigh_group("default", "t1", 2)
        assert group in client.groups("default")
        with pytest.raises(NotFound):
            client.flow("nobody")
        with pytest.raises(Refused, match="burst"):
            client.change_flow("nobody", burst=2)


def test_an_asynchronous_program_does_the_same(url: str) -> None:
    """Awaited."""

    async def use() -> None:
        async with AsyncTaskpost(url) as client:
            await client.submit("demo.add", {"a": 1, "b": 2}, flow={"key": "async", "rate": 5})
            flow = await client.change_flow("async", pinned=True)
            assert flow == await client.flow("async") == await client.reset_flow("async")
            assert flow in await client.flows()
            group = await client.weigh_group("default", "t2", 0.5)
            assert group in await client.groups("default")

    asyncio.run(use())


def test_the_command_line_submits_with_a_key(run: Run) -> None:
    """Its limits and the group; limits without a key are refused."""
    limits = ("--flow-concurrency", "3", "--flow-rate", "100/1m", "--flow-burst", "5")
    status, out, _ = run("submit", "demo.add", "a=1", "b=2", "--flow", KEY, *limits, "--group", "t3", "--json")
    assert 0 == status
    shown = json.loads(out)
    assert {"key": KEY, "concurrency": 3, "rate": 100, "period_seconds": 60, "burst": 5} == shown["flow"]
    assert "t3" == shown["group"]
    status, _, err = run("submit", "demo.add", "a=1", "b=2", "--flow-rate", "5")
    assert 2 == status
    assert "--flow KEY" in err
    with pytest.raises(SystemExit):
        run("submit", "demo.add", "a=1", "b=2", "--flow", KEY, "--flow-rate", "often")


def test_the_command_line_shows_and_changes_keys(run: Run) -> None:
    """In a table, one whole, and as JSON."""
    status, out, _ = run("flows", "set", "cli", "--concurrency", "3", "--rate", "100/1m", "--burst", "10")
    assert (0, True) == (status, "burst 10" in out)
    for action, state in (("pause", "paused"), ("pin", "paused, pinned"), ("resume", "pinned"), ("unpin", "")):
        status, out, _ = run("flows", action, "cli")
        assert (0, bool(state)) == (status, "state" in out)
        assert state in out
    status, out, _ = run("flows")
    assert (0, True) == (status, "cli" in out)
    assert None is json.loads(run("flows", "set", "cli", "--rate", "none", "--json")[1])["rate"]
    assert 0 == run("flows", "reset", "cli")[0]
    assert "running" in run("flows", "show", "cli")[1]


def test_the_command_line_weighs_groups(run: Run) -> None:
    """And lists them."""
    assert "2.5" in run("flows", "weigh", "mail", "tenant", "2.5")[1]
    assert "tenant" in run("flows", "groups", "mail")[1]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("show",), "which key?"),
        (("groups",), "which queue?"),
        (("weigh", "mail"), "which group"),
        (("set", "cli"), "at least one of"),
        (("pause", "cli", "--burst", "2"), "no other action"),
    ],
)
def test_the_command_line_says_what_is_missing(run: Run, words: tuple[str, ...], told: str) -> None:
    """Before it asks anybody."""
    status, _, err = run("flows", *words)
    assert (2, True) == (status, told in err), err
