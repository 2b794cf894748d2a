"""Events from Python and from the shell: read as they come, begun again where they broke, and said readably."""

from __future__ import annotations

import asyncio
import json
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from service import cli
from service.client import AsyncTaskpost, ConnectFailed, Event, NotFound, Refused, Taskpost
from service.client.live import Parser, event_query
from tests.api.serving import ADD, Serving
from tests.running import ROOT, taskpost
from tests.servers import until
from tests.store.acting import Worker

Run = Callable[..., tuple[int, str, str]]
DEADLINE_SECONDS = 30.0

# ---------------------------------------------------------------- without a network


def test_a_stream_is_read_whatever_its_pieces() -> None:
    """Byte by byte, with either end of line; comments are nothing, and an id alone is a place."""
    text = (
        b'retry: 1000\nid: a\n\n: alive\n\nevent: task\r\nid: b\r\ndata: {"id":"1","state":"queued"}\r\n\r\n'
        b'event: task\ndata: {"id":"\xe2\x80\xa8","state":"running"}\n\n'
    )
    whole = list(Parser().feed(text))
    parser = Parser()
    assert whole == [event for n in range(len(text)) for event in parser.feed(text[n : n + 1])]
    assert [("task", "b", "1", "queued"), ("task", "b", "\u2028", "running")] == [
        (one.kind, one.cursor, one.id, one.state) for one in whole
    ]


def test_filters_are_said_in_the_contracts_words() -> None:
    """Several states and ids, a flag and a rate; what is None is left out."""
    given = {"state": ["queued", "failed"], "id": ["a", "b"], "queue": None, "progress": False, "rate": 2.5}
    assert {"state": "queued,failed", "id": "a,b", "progress": "false", "rate": "2.5"} == event_query(given)


# ---------------------------------------------------------------- against an API


@asynccontextmanager
async def cutting(port: int) -> AsyncIterator[tuple[int, list[asyncio.StreamWriter]]]:
    """A port that leads to *port*, and the connections over it, to be cut."""
    open_: list[asyncio.StreamWriter] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while some := await reader.read(65_536):
            writer.write(some)
        writer.close()

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", port)
        open_.append(writer)
        await asyncio.gather(carry(reader, outer), carry(inner, writer), return_exceptions=True)

    server = await asyncio.start_server(lead, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], open_
        for writer in open_:
            writer.transport.abort()


async def collect(events: AsyncIterator[Event], into: list[Event], most: int) -> None:
    async for event in events:
        into.append(event)
        if len(into) >= most:
            return


async def test_a_connection_that_breaks_is_made_again_behind_the_last_event(api: Serving, worker: Worker) -> None:
    """Cut again and again while things happen: everything comes, each once, and the reason is told."""
    broken: list[Exception] = []
    seen: list[Event] = []
    async with cutting(api.port) as (port, open_), AsyncTaskpost(f"http://127.0.0.1:{port}") as client:
        reading = asyncio.create_task(collect(client.events(when_broken=broken.append), seen, 60))
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not api.api.runtime.hub.following:
                await asyncio.sleep(0.005)
            ids = []
            for n in range(20):
                ids.append((await api.submitted(ADD))["id"])
                await worker.succeed(*await worker.lease())
                if n % 5 == 2:
                    while len(seen) <= 3 * n:
                        await asyncio.sleep(0.005)
                    open_[-1].transport.abort()
            await reading
    expected = [(id_, state) for id_ in ids for state in ("queued", "running", "succeeded")]
    assert expected == [(event.id, event.state) for event in seen]
    assert len(broken) >= 4


async def test_one_task_is_followed_to_its_end(api: Serving, worker: Worker) -> None:
    """And then there is nothing more; an unknown one is an error."""
    task = await api.submitted(ADD)
    async with AsyncTaskpost(f"http://127.0.0.1:{api.port}") as client:
        events = client.follow(task["id"])
        assert "queued" == (await anext(events)).state
        await worker.succeed(*await worker.lease())
        assert ["running", "succeeded"] == [event.state async for event in events]
        assert [] == [event async for event in client.follow(task["id"], cursor="end")]
        with pytest.raises(NotFound):
            await anext(client.follow("0" * 26))
        with pytest.raises(Refused, match="rate"):
            await anext(client.events(rate=0))
        token = await client.read_token(task["id"], ttl_seconds=60)
        assert token.token in token.events_url
    async with AsyncTaskpost("http://127.0.0.1:9", retries=0) as client:
        with pytest.raises(ConnectFailed):
            await anext(client.events())


# ---------------------------------------------------------------- from the shell


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with taskpost("web", "worker") as url:
        yield url


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `taskpost tail`; its exit status, standard output and standard error."""
    monkeypatch.setenv("TASKPOST_URL", url)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = cli.main(["tail", *arguments])
        return status, *capsys.readouterr()

    return run


def test_the_synchronous_client_follows_too(url: str) -> None:
    """The same events, in a `for`."""
    with Taskpost(url) as client:
        task = client.submit("demo.progress", {"steps": 3})
        events = list(client.follow(task))
        assert "succeeded" == events[-1].state
        assert {"task", "progress"} <= {event.kind for event in events}
        assert client.read_token(task).events_url.startswith(f"/v1/tasks/{task.id}/events?token=")


def test_tail_of_a_task_shows_it_to_its_end(run: Run, url: str) -> None:
    """Its exit status is 0 when it succeeded, 1 when it did not."""
    with Taskpost(url) as client:
        good = client.submit("demo.progress", {"steps": 3})
        bad = client.submit("demo.flaky", {"fail_times": 9}, retries=0)
    status, out, err = run(good.id)
    assert (0, "") == (status, err)
    assert all(good.id in line for line in out.splitlines())
    assert "demo.progress" in out
    assert "succeeded" in out.splitlines()[-1]
    status, out, _ = run(bad.id, "--json")
    told = [json.loads(line) for line in out.splitlines()]
    assert (1, "failed") == (status, told[-1]["state"])
    status, out, err = run("0" * 26)
    assert (2, "") == (status, out)
    assert "there is no such task" in err


def test_faults_of_filters_are_sentences(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """As everywhere on the command line; a state that there is not is known before anything is asked."""
    status, out, err = run("--rate", "0")
    assert (2, "") == (status, out)
    assert "rate" in err
    with pytest.raises(SystemExit):
        run("--state", "suceeded")
    assert "did you mean succeeded?" in capsys.readouterr().err


def test_tail_goes_on_until_it_is_interrupted(url: str) -> None:
    """Ctrl-C ends it with the usual status, and without a traceback."""
    command = [sys.executable, "-m", "service.cli", "tail", "--name", "demo.a*", "--state", "succeeded"]
    env = {"TASKPOST_URL": url, "PYTHONUNBUFFERED": "1", "PATH": ""}
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        with Taskpost(url) as client:
            seen = b""

            def is_shown() -> bool:
                nonlocal seen
                client.submit("demo.add", {"a": 2, "b": 3}, wait=10)
                if select.select([tail.stdout], [], [], 0.1)[0]:
                    seen += tail.stdout.readline()
                return b"demo.add" in seen

            until(is_shown, "the tail shows a task")
        tail.send_signal(signal.SIGINT)
        assert 130 == tail.wait(DEADLINE_SECONDS)
        assert b"Traceback" not in tail.stderr.read()
