"""Submitting by a handler: what goes over HTTP, what handles say, and parts of a task from every lane of a worker."""

from __future__ import annotations

import asyncio
import enum
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
import uvloop

from service.client import NotFound, ResultGone, TaskFailed, WaitTimedOut
from service.errors import InvalidArguments
from tests.parts import System, system
from tests.servers import Server, single
from tests.workers.handlers_around import part, split_async, split_process, split_thread
from workers import Context, Registry, doors
from workers.testing import recorded

registry = Registry()


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: Decimal


class Route(msgspec.Struct):
    points: list[Point]
    at: datetime


@registry.task("draw")
async def draw(route: Route, colour: Colour, day: date, by: UUID, after: timedelta, ctx: Context) -> Route:
    """Types that JSON does not have."""
    return route


@registry.task("send")
async def send(ctx: Context, to: str, template: str = "hello", *, urgent: bool = False) -> str:
    return to


# ---------------------------------------------------------------- without an API


def test_arguments_are_written_as_the_handler_reads_them() -> None:
    """Dates, UUIDs, decimals, enums, dataclasses and structs arrive as what they were."""
    given = {
        "route": Route([Point(1, Decimal("2.50"))], datetime(2026, 11, 22, tzinfo=UTC)),
        "colour": Colour.RED,
        "day": date(2026, 11, 22),
        "by": UUID(int=7),
        "after": timedelta(minutes=5),
    }
    with recorded() as submitted:
        draw.submit_sync(**given)
    assert "2.50" == submitted[0].args["route"]["points"][0]["y"]
    assert given == draw.bind(submitted[0].args)


def test_options_are_the_contracts() -> None:
    """The short names of Python become the names and units of the contract; what is None is left out."""
    with recorded() as submitted:
        later = send.options(delay=timedelta(minutes=5), timeout=30, result_ttl=0, priority=None)
        later.options(queue="mail", tags=("a",), callback="https://example.com/done").submit_sync("a@b.c", urgent=True)
    assert {"to": "a@b.c", "urgent": True} == submitted[0].args
    assert {
        "delay_seconds": 300,
        "timeout_seconds": 30,
        "result_ttl_seconds": 0,
        "queue": "mail",
        "tags": ["a"],
        "callback": {"url": "https://example.com/done"},
    } == submitted[0].options


@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [
        ((), {}, "/args/to: this argument is required"),
        ((5,), {}, "Expected str, got int"),
        (("a", "b", "c"), {}, "takes 2 positional arguments (to, template), not 3"),
        (("a",), {"to": "b"}, "given by position and by name: to"),
        (("a",), {"tempalte": "x"}, "did you mean 'template'?"),
        ((object(),), {}, "argument 'to' cannot be written as JSON"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_sent(args: Any, kwargs: Any, said: str) -> None:
    """The text names the argument; nothing goes out."""
    with recorded() as submitted, pytest.raises(InvalidArguments) as caught:
        send.submit_sync(*args, **kwargs)
    assert said in str(caught.value)
    assert [] == submitted


def test_a_row_with_a_fault_keeps_all_others_back() -> None:
    """Many are all checked first; the text names the row."""
    with recorded() as submitted:
        with pytest.raises(InvalidArguments, match=r"row 1: .*required"):
            send.submit_many_sync([("a@b.c",), {}, {"to": "c@d.e"}])
        with pytest.raises(TypeError, match="needs a tuple"):
            send.submit_many_sync(["a@b.c"])
        with pytest.raises(TypeError, match="one idempotency_key"):
            send.options(idempotency_key="x").submit_many_sync([("a",)])
    assert [] == submitted


def test_an_unknown_option_is_refused() -> None:
    """`priorty=9` must not be dropped in silence."""
    with pytest.raises(TypeError, match="no such option: did you mean 'priority'"):
        send.options(priorty=9)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"no such option: there are delay, run_at, .*, parent"):
        send.options(zebra=9)  # type: ignore[call-arg]


def test_a_plain_call_takes_a_context_or_makes_one_up() -> None:
    """In a test the handler is a function, with the Context in front or without it."""

    async def called() -> list[str]:
        return [await send("a"), await send(Context(id="0" * 26), "b"), await send("c", ctx=Context(id="0" * 26))]  # type: ignore[call-arg]

    assert ["a", "b", "c"] == asyncio.run(called())


# ---------------------------------------------------------------- with a whole system


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with single("valkey") as one:
        yield one


@pytest.fixture(scope="module")
def running(server: Server) -> Iterator[System]:
    with system(server.url) as one:
        one.settings |= {"url": one.url, "children": 2}
        one.start_worker("tests.workers.handlers_around:registry")
        yield one


@pytest.fixture(autouse=True)
def here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "running" in request.fixturenames:
        monkeypatch.setenv("TASKPOST_URL", request.getfixturevalue("running").url)


async def test_a_handle_follows_its_task(running: System) -> None:
    """Submit, wait, read: without a word of HTTP."""
    handle = await part.submit(5)
    assert 5 == await handle.get(60)
    assert ("succeeded", 5, None, True) == (handle.state, handle.result, handle.error, await handle.ready())
    many = await part.submit_many([(1,), {"number": 2}])
    assert [1, 2] == [await one.get(60) for one in many]


def test_a_handle_follows_its_task_without_asyncio(running: System) -> None:
    """The same for synchronous code."""
    assert 6 == part.submit_sync(6).get(60)
    assert [1, 2] == [one.get(60) for one in part.submit_many_sync([(1,), (2,)])]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_client_is_kept_for_a_loop_and_closed_with_it(running: System, run: Any) -> None:
    """Many submissions share one; nothing is left open, whichever loop it is."""

    async def main() -> list[Any]:
        await part.submit(1)
        kept = [await doors.async_door()]
        await part.submit(2)
        return [*kept, await doors.async_door()]

    first, second = run(main())
    assert first is second
    assert first.client._http.is_closed


def test_a_forked_process_has_a_client_of_its_own(running: System) -> None:
    """Two processes on one connection would read each other's answers."""
    part.submit_sync(1)
    ours = doors.door()
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.write(write, b"other" if doors.door() is not ours and part.submit_sync(2).get(60) == 2 else b"same")
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read, "rb") as said:
        assert b"other" == said.read()
    assert doors.door() is ours


async def test_a_handle_cancels_and_tells_why_there_is_no_result(running: System) -> None:
    """A waiting task is cancelled at once; getting its result says so."""
    handle = await part.options(delay=3600).submit(1)
    assert not await handle.ready()
    with pytest.raises(WaitTimedOut):
        await handle.get(0)
    assert "cancelled" == await handle.cancel()
    with pytest.raises(TaskFailed, match="cancelled"):
        await handle.get(60)


async def test_a_result_that_is_not_kept_is_gone(running: System) -> None:
    """result_ttl=0 is `ignore_result`: the end can be waited for, the result is not there."""
    handle = await part.options(result_ttl=0).submit(1)
    with pytest.raises((ResultGone, NotFound)):
        await handle.get(60)


@pytest.mark.parametrize("split", [split_async, split_thread, split_process], ids=lambda one: one.name)
async def test_a_part_carries_the_id_of_its_whole(running: System, split: Any) -> None:
    """ctx.submit works in every lane; the part shows its parent."""
    handle = await split.submit(date(2026, 11, 22))
    result = await handle.get(60)
    child = running.api.get(f"/v1/tasks/{result['part']}", params={"wait": 25}).json()
    assert (handle.id, 22) == (child["parent"], child["result"])


@pytest.mark.parametrize("split", [split_async, split_thread, split_process], ids=lambda one: one.name)
async def test_a_resource_is_opened_in_the_process_that_runs_the_handler(running: System, split: Any) -> None:
    """Dependencies, resources, middleware and hooks are all at work where the handler is, children included."""
    handle = await split.options(metadata={"stamp": True}).submit(date(2026, 11, 22))
    result = await handle.get(60)
    assert result["was"]["opened_in"] == result["was"]["runs_in"] == result["stamped_in"]


def test_an_editor_is_told_the_handlers_own_signature(tmp_path: Path) -> None:
    """mypy accepts what is right and refuses every line that is marked as wrong."""
    from mypy import api

    snippets = Path(__file__).with_name("typing_snippets.py")
    told, faults, _ = api.run(
        [
            "--strict",
            "--no-incremental",
            "--cache-dir",
            str(tmp_path),
            "--no-error-summary",
            "--follow-imports=silent",
            str(snippets),
        ]
    )
    assert "" == faults
    refused = {int(line.split(":")[1]) for line in told.splitlines() if ": error:" in line}
    marked = {n for n, line in enumerate(snippets.read_text().splitlines(), 1) if line.endswith("# refused")}
    assert marked == refused, told
