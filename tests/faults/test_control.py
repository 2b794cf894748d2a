"""Workers that are told to be quiet, to stop, to be larger or smaller, while they run tasks: nothing is lost by it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from service.store import Store, keys
from tests.faults.acting import (
    Part,
    eventually,
    given,
    lines,
    new,
    outcome,
    state,
    submit,
    until_ended,
    until_state,
)
from tests.servers import Server
from tests.store.deployments import Deployment

Start = Callable[..., Part]
BOTH = "tests.faults.handlers,tests.faults.child_handlers"


async def the_worker(store: Store) -> str:
    """The id of the only live worker."""

    async def look() -> str | None:
        live = await store.workers.live(store.tasks.clock.now_ms())
        return live[0]["id"] if len(live) == 1 else None

    found: str = await eventually(look, "one worker lives")
    return found


async def tell(store: Store, id_: str, kind: str, **told: Any) -> None:
    command = {"id": os.urandom(8).hex(), "kind": kind, "sent_ms": 0, **told}
    assert await store.workers.command(id_, command)


async def until(store: Store, id_: str, claim: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """The worker, once *claim* is true of it."""

    async def look() -> dict[str, Any] | None:
        found = await store.workers.read(id_)
        return found if found is not None and claim(found) else None

    found: dict[str, Any] = await eventually(look, "the worker is as it is wanted")
    return found


def sizes(worker: dict[str, Any], lane: str) -> list[int]:
    """The size of *lane* in each process."""
    return [process["slots"][lane]["size"] for process in worker["process_list"]]


# ---------------------------------------------------------------- quiet, resume, stop


async def test_a_quiet_worker_finishes_what_it_runs_and_leaves_the_queue(
    store: Store, start: Start, tmp_path: Path
) -> None:
    """Until it is resumed; what waited is done then, at once."""
    await start(processes="2").ready()
    id_ = await the_worker(store)
    go, path = tmp_path / "go", tmp_path / "ran"
    running = await submit(store, *[given("until", args={"go": str(go), "path": str(path)}) for _ in range(4)])
    await eventually(lambda: len(lines(path)) == 4)
    await tell(store, id_, "quiet")
    told = await until(store, id_, lambda worker: worker["state"] == "quiet")
    assert 4 == told["running"]
    waiting = await submit(store, *[given("add", args={"a": 1, "b": n}) for n in range(20)])
    go.touch()
    assert {("succeeded", "gone")} == {outcome(one) for one in await until_ended(store, *running)}
    seen_ms = (await until(store, id_, lambda worker: worker["running"] == 0))["seen_ms"]
    await until(store, id_, lambda worker: worker["seen_ms"] > seen_ms)  # it had time, and nothing else to do
    assert {"queued"} == {await state(store, one) for one in waiting}
    await tell(store, id_, "resume")
    assert [("succeeded", n + 1) for n in range(20)] == [outcome(one) for one in await until_ended(store, *waiting)]
    assert "running" == (await until(store, id_, lambda worker: worker["last_command"]["kind"] == "resume"))["state"]


async def test_another_worker_serves_what_a_quiet_one_leaves(store: Store, start: Start) -> None:
    """The queue is not paused, only this worker is."""
    await start().ready()
    id_ = await the_worker(store)
    await tell(store, id_, "quiet")
    await until(store, id_, lambda worker: worker["state"] == "quiet")
    other = await start().ready()
    ids = await submit(store, *[given("add", args={"a": 1, "b": 2})] * 5)
    found = await until_ended(store, *ids)
    assert {other.pid} == {int((one.record.outcome or {})["worker"].split("-")[-2]) for one in found}


async def test_a_process_that_starts_anew_is_as_it_was_wanted(store: Store, start: Start) -> None:
    """Quiet and of the new size, from its first moment."""
    worker = await start(concurrency="3").ready()
    id_ = await the_worker(store)
    await tell(store, id_, "quiet")
    await tell(store, id_, "resize", concurrency=7)
    before = await until(store, id_, lambda one: one["state"] == "quiet" and sizes(one, "async") == [7])
    [waiting] = await submit(store, given("add", args={"a": 1, "b": 2}))
    os.kill(before["process_list"][0]["pid"], signal.SIGKILL)
    await eventually(lambda: worker.text.count("is ready") == 2)
    after = await until(store, id_, lambda one: one["state"] == "quiet" and sizes(one, "async") == [7])
    assert before["process_list"][0]["pid"] != after["process_list"][0]["pid"]
    assert "queued" == await state(store, waiting)


async def test_a_worker_that_is_told_to_stop_drains_and_hands_back(store: Store, start: Start, tmp_path: Path) -> None:
    """As at SIGTERM, with a time of its own: short tasks finish, long ones go back with nothing spent."""
    worker = await start(drain_seconds="600").ready()
    id_ = await the_worker(store)
    go, short, long = (tmp_path / name for name in ("go", "short", "long"))
    ids = await submit(
        store,
        given("until", args={"go": str(go), "path": str(short)}),
        given("sleep", args={"seconds": 600, "path": str(long)}),
    )
    await eventually(lambda: lines(short) and lines(long))
    await tell(store, id_, "stop", drain_seconds=3)
    await until(store, id_, lambda one: one["state"] == "stopping")
    await tell(store, id_, "resume")  # too late: it does nothing else any more
    go.touch()
    assert 0 == await worker.ended()
    done, back = await store.tasks.read(ids)
    assert done is not None
    assert back is not None
    assert back.run is not None
    assert (("succeeded", "gone"), "queued") == (outcome(done), back.state)
    assert (0, 0) == (back.run.attempt, back.run.crashes)
    assert await store.workers.read(id_) is None
    assert "ERROR" not in worker.text


# ---------------------------------------------------------------- resize


class Endpoint:
    """A URL that counts who calls it, and takes its time."""

    def __init__(self) -> None:
        self.called = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.called += 1
                await asyncio.sleep(0.02)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@pytest.fixture
async def endpoint() -> AsyncIterator[tuple[Endpoint, str]]:
    counted = Endpoint()
    server = await asyncio.start_server(counted.answer, "127.0.0.1", 0)
    yield counted, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    server.close()


MANY = 120


@pytest.mark.parametrize(
    ("lane", "size"),
    [("async", "concurrency"), ("thread", "threads"), ("process", "children"), ("url", "url_concurrency")],
)
async def test_a_lane_is_resized_under_load_and_nothing_is_lost(
    store: Store, start: Start, tmp_path: Path, endpoint: tuple[Endpoint, str], lane: str, size: str
) -> None:
    """Larger, smaller, none at all and back, while it is full: each task runs exactly once."""
    await start(handlers=BOTH, **{size: "2"}).ready()
    id_ = await the_worker(store)
    counted, url = endpoint
    path = tmp_path / "ran"
    task = {
        "async": given("sleep", args={"seconds": 0.02, "path": str(path)}),
        "thread": given("thread", args={"seconds": 0.02, "path": str(path)}, lane="thread"),
        "process": new({"name": "child.note", "args": {"path": str(path), "word": "ran 1"}}, lane="process"),
        "url": new({"url": url, "method": "GET"}, lane="url"),
    }[lane]
    ids = await submit(store, *[task] * MANY)
    ended = asyncio.create_task(until_ended(store, *ids))
    for wanted in (9, 1, 0):
        await tell(store, id_, "resize", **{size: wanted})
        await until(store, id_, lambda one, wanted=wanted: sizes(one, lane) == [wanted])
    idle = await until(store, id_, lambda one: one["process_list"][0]["slots"][lane]["busy"] == 0)
    assert idle["slots"][lane] == 0
    held = await submit(store, task)
    await tell(store, id_, "resize", **{size: 4})
    found = [*await ended, *await until_ended(store, *held)]
    assert Counter({"succeeded": MANY + 1}) == Counter(one.state for one in found)
    assert MANY + 1 == (counted.called if lane == "url" else len(lines(path)))


async def test_a_lane_that_had_no_room_gets_some(store: Store, start: Start) -> None:
    """A worker that was started without child processes and threads runs tasks in them when it is told to."""
    await start(handlers=BOTH, children="0", threads="0").ready()
    id_ = await the_worker(store)
    ids = await submit(
        store, new({"name": "child.pid"}, lane="process"), given("thread", args={"seconds": 0}, lane="thread")
    )
    await until(store, id_, lambda one: sizes(one, "process") == sizes(one, "thread") == [0])
    assert ["queued", "queued"] == [await state(store, one) for one in ids]
    await tell(store, id_, "resize", children=1, threads=1)
    assert {"succeeded"} == {one.state for one in await until_ended(store, *ids)}


async def test_processes_come_and_go_under_load_and_nothing_is_lost(store: Store, start: Start, tmp_path: Path) -> None:
    """A process too many finishes what it runs; the handlers stay known, and the first process stays."""
    await start(concurrency="4").ready()
    id_ = await the_worker(store)
    path = tmp_path / "ran"
    ids = await submit(store, *[given("sleep", args={"seconds": 0.05, "path": str(path)})] * 400)
    await tell(store, id_, "resize", processes=3)
    three = await until(store, id_, lambda one: [p["state"] for p in one["process_list"]] == ["running"] * 3)
    assert (3, 12) == (three["processes"], three["slots"]["async"])
    await tell(store, id_, "resize", processes=1, concurrency=8)
    one = await until(store, id_, lambda one: len(one["process_list"]) == 1 and sizes(one, "async") == [8])
    assert three["process_list"][0]["pid"] == one["process_list"][0]["pid"]
    found = await until_ended(store, *ids)
    assert Counter({"succeeded": 400}) == Counter(one.state for one in found)
    assert 400 == len(lines(path))


async def test_a_process_that_leaves_hands_back_what_outlasts_the_drain(
    store: Store, start: Start, tmp_path: Path
) -> None:
    """The rest of the worker runs it from its beginning."""
    await start(concurrency="1", processes="2", drain_seconds="1").ready()
    id_ = await the_worker(store)
    path = tmp_path / "ran"
    await submit(store, *[given("sleep", args={"seconds": 600, "path": str(path)})] * 2)
    await eventually(lambda: len(lines(path)) == 2)
    await tell(store, id_, "resize", processes=1, concurrency=2)
    await eventually(lambda: len(lines(path)) == 3)
    shown = await until(store, id_, lambda one: len(one["tasks"]) == 2 and len(one["process_list"]) == 1)
    assert [1, 1] == [row[4] for row in shown["tasks"]], "no attempt was spent"


# ---------------------------------------------------------------- when things go wrong


async def test_a_worker_that_is_started_anew_does_nothing_of_what_it_was_told_before(
    store: Store, start: Start, deployment: Deployment
) -> None:
    """It was killed with the command in its list: the next has another id, and the list goes by itself."""
    killed = await start().ready()
    id_ = await the_worker(store)
    killed.signal_all(signal.SIGSTOP)
    await tell(store, id_, "stop")
    await killed.kill()
    await start().ready()
    [done] = await until_ended(store, *await submit(store, given("add", args={"a": 1, "b": 2})))
    assert ("succeeded", 3) == outcome(done)
    assert 1 == len(await store.workers.commands(id_))
    assert deployment.node(0).pttl(keys.commands(id_)) > 0


async def test_a_command_without_its_marker_is_heard_with_the_next_heartbeat(
    store: Store, start: Start, deployment: Deployment
) -> None:
    """A marker may be lost; a command is not."""
    await start().ready()
    id_ = await the_worker(store)
    deployment.node(0).rpush(keys.commands(id_), b'{"id":"x","kind":"quiet","sent_ms":0}')
    deployment.node(0).pexpire(keys.commands(id_), 60_000)
    await until(store, id_, lambda worker: worker["state"] == "quiet")
    await eventually(lambda: not deployment.node(0).exists(keys.commands(id_)))


async def test_a_command_that_could_not_be_taken_away_is_not_obeyed_again(
    store: Store, start: Start, deployment: Deployment
) -> None:
    """It stands in the list once more: what was told after it is not undone."""
    worker = await start().ready()
    id_ = await the_worker(store)
    text = b'{"id":"x","kind":"quiet","sent_ms":0}'
    for kind in ("quiet", "running"):
        deployment.node(0).rpush(keys.commands(id_), text)
        deployment.node(0).pexpire(keys.commands(id_), 60_000)
        await eventually(lambda: not deployment.node(0).exists(keys.commands(id_)))
        if kind == "quiet":
            await until(store, id_, lambda worker: worker["state"] == "quiet")
            await tell(store, id_, "resume")
        await until(store, id_, lambda worker: worker["last_command"]["kind"] == "resume")
    assert 1 == worker.text.count("is told: quiet")


async def test_a_blocked_process_is_shown_and_obeys_when_it_turns(store: Store, start: Start, tmp_path: Path) -> None:
    """What it runs can be read while nothing of it moves; it is not called quiet before it is."""
    await start().ready()
    id_ = await the_worker(store)
    path = tmp_path / "ran"
    [blocking] = await submit(store, given("block", args={"seconds": 4, "path": str(path)}))
    await eventually(lambda: lines(path))
    shown = await until(store, id_, lambda one: one["process_list"][0]["blocked_seconds"] > 0)
    assert ["faults.block"] == [row[1] for row in shown["tasks"]]
    assert 1 == shown["process_list"][0]["slots"]["async"]["busy"]
    await tell(store, id_, "quiet")
    told = await until(store, id_, lambda one: (one["last_command"] or {}).get("kind") == "quiet")
    assert "running" == told["state"] or "succeeded" == await state(store, blocking)
    await until(store, id_, lambda worker: worker["state"] == "quiet")
    await until_state(store, blocking, "succeeded")


async def test_child_processes_are_shown_with_their_memory_and_tasks(store: Store, start: Start) -> None:
    """How many tasks each has run; numbers that the machine knows."""
    await start(handlers="tests.faults.child_handlers", children="2").ready()
    id_ = await the_worker(store)
    task = new({"name": "child.pid"}, lane="process")
    for _ in range(3):
        await until_ended(store, *await submit(store, task))
    shown = await until(store, id_, lambda one: sum(c["tasks"] for c in one["process_list"][0]["children"]) == 3)
    for child in shown["process_list"][0]["children"]:
        assert Path(f"/proc/{child['pid']}").exists()
        assert child["rss_bytes"] > 1_000_000
    assert shown["process_list"][0]["rss_bytes"] > 10_000_000
    assert shown["versions"]["server"].split()[0] in ("redis", "valkey")


async def test_no_more_than_two_hundred_tasks_are_told(store: Store, start: Start, tmp_path: Path) -> None:
    """Those that run for longest; `running` counts all."""
    await start(concurrency="300").ready()
    id_ = await the_worker(store)
    go = tmp_path / "go"
    ids = await submit(store, *[given("until", args={"go": str(go)}) for _ in range(300)])
    shown = await until(store, id_, lambda one: one["running"] == 300)
    assert 200 == len(shown["tasks"])
    assert shown["tasks"] == sorted(shown["tasks"], key=lambda row: row[5])
    go.touch()
    await until_ended(store, *ids)


class TestRedisAway:
    """The store goes away between a command and its worker."""

    @pytest.fixture
    def redis_server(self, start_server: Callable[..., Server]) -> Server:
        """A server of the test's own, with everything on disk at once."""
        return start_server("valkey", appendonly="yes", appendfsync="always")

    async def test_a_command_outlives_redis(self, store: Store, start: Start, redis_server: Server) -> None:
        """Told before, obeyed after; and the worker is not quiet by the loss."""
        worker = await start(lease_ms="60000", heartbeat_ms="1000").ready()
        id_ = await the_worker(store)
        worker.signal_all(signal.SIGSTOP)
        await tell(store, id_, "resize", concurrency=5)
        redis_server.kill()
        worker.signal_all(signal.SIGCONT)
        await eventually(lambda: "Redis did not answer" in worker.text)
        redis_server.restart()
        shown = await until(store, id_, lambda one: sizes(one, "async") == [5])
        assert "running" == shown["state"]
        [done] = await until_ended(store, *await submit(store, given("add", args={"a": 1, "b": 2})))
        assert ("succeeded", 3) == outcome(done)
