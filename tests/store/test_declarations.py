"""Schedules that applications declare: what a deploy changes, and what an older version or another one never does."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from service.declared import Declared
from service.schedule import PAUSED, owner_of, shown
from service.store import Store
from service.store.declarations import Application
from tests.store.scheduling import defined, fire, hours_late, made, read, save

TASK = {"name": "demo.add", "args": {"a": 1, "b": 2}}


def app(version: str, name: str = "shop") -> Application:
    return Application("default", name, version, "UTC")


def declared(*names: str, **fields: Any) -> list[Declared]:
    return [Declared(name, {"cron": "0 3 * * *", "task": TASK, **fields}, "shop.py:1") for name in names]


async def names(store: Store) -> list[str]:
    return [one.name for one in await store.schedules.page("default", 100)]


async def publish(store: Store, version: str, *given: str, name: str = "shop", **fields: Any) -> None:
    await store.declarations.publish(app(version, name), declared(*given, **fields))


async def test_what_is_declared_is_there_and_says_whose_it_is(store: Store) -> None:
    await publish(store, "v1", "a", "b")
    assert ["a", "b"] == await names(store)
    assert {"application": "shop", "version": "v1"} == shown(await read(store, "a"), "UTC", None)["owner"]


async def test_a_deploy_removes_what_it_does_not_declare(store: Store) -> None:
    """And what it still declares goes on where it was, with its runs and its history."""
    await publish(store, "v1", "a", "b", every_seconds=3600)
    await hours_late(store, 0.005, "a")
    await fire(store)
    ran = await read(store, "a")
    await publish(store, "v2", "a", "c", every_seconds=3600)
    assert ["a", "c"] == await names(store)
    after = await read(store, "a")
    assert (1, ran.next_ms, "v2") == (after.runs, after.next_ms, after.definition["owner"]["version"])


@pytest.mark.parametrize("version", ["v1", ""])
async def test_a_start_without_news_changes_nothing(store: Store, version: str) -> None:
    """As often as workers start."""
    await publish(store, version, "a")
    before = await read(store, "a")
    await asyncio.gather(*(publish(store, version, "a") for _ in range(5)))
    assert before == await read(store, "a")


async def test_an_older_version_that_starts_again_changes_nothing(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker of the last deploy that is restarted brings back nothing and deletes nothing."""
    await publish(store, "v1", "a", "b")
    await publish(store, "v2", "a", "c", description="new")
    before = [await read(store, name) for name in ("a", "c")]
    await publish(store, "v1", "a", "b")
    assert before == [await read(store, name) for name in await names(store)]
    assert "older" in caplog.text


async def test_two_deploys_at_once_leave_what_the_newer_declares(store: Store) -> None:
    """Whatever comes first, again and again."""
    for number in range(20):
        old, new = f"v{number}a", f"v{number}b"
        await publish(store, old, "x")
        await store.declarations.number_of("tp:{0}:app:default/shop", old)
        gone, come = declared("x", "gone"), declared("x", "come", description=new)
        await asyncio.gather(
            store.declarations.publish(app(old), gone),
            store.declarations.publish(app(new), come),
            store.declarations.publish(app(old), gone),
        )
        await store.declarations.publish(app(old), gone)
        found = {one.name: one for one in await store.schedules.page("default", 10)}
        assert {"come", "x"} == found.keys()
        assert {new} == {one.definition["owner"]["version"] for one in found.values()}


async def test_another_application_deletes_and_changes_nothing(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even a schedule of the same name; the log and the schedule say so."""
    await publish(store, "v1", "a", "b")
    before = (await read(store, "a")).definition
    await publish(store, "v9", "a", "z", name="other", description="theirs")
    found = await read(store, "a")
    assert (["a", "b", "z"], "shop") == (await names(store), (owner_of(found.definition) or {})["application"])
    assert {name for name in found.definition if found.definition[name] != before.get(name)} == {
        "edit", "also_declared_by"
    }  # fmt: skip
    assert {"application": "other", "version": "v9"} == shown(found, "UTC", None)["also_declared_by"]
    assert "belongs to the application shop" in caplog.text
    await publish(store, "v10", "z", name="other")
    assert "also_declared_by" not in (await read(store, "a")).definition
    await publish(store, "v11", name="other")
    assert ["a", "b"] == await names(store)


async def test_a_schedule_of_the_api_is_not_taken_over(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    await made(store, "a", description="by hand")
    await publish(store, "v1", "a")
    found = await read(store, "a")
    assert ("by hand", None) == (found.definition["description"], owner_of(found.definition))
    assert "belongs to the API" in caplog.text
    again = await read(store, "a")
    await publish(store, "v1", "a")
    assert again == await read(store, "a")
    await publish(store, "v2")
    assert ["a"] == await names(store)
    assert "also_declared_by" not in (await read(store, "a")).definition


async def test_changes_over_the_api_stand_until_the_next_deploy(store: Store) -> None:
    """And a pause for longer: it is not for a deploy to end."""
    await publish(store, "v1", "a")
    await save(store, defined(store, "a", cron="0 4 * * *"), await read(store, "a"), is_paused=True)
    await publish(store, "v1", "a")
    assert "0 4 * * *" == (await read(store, "a")).definition["cron"]
    await publish(store, "v2", "a")
    after = await read(store, "a")
    assert ("0 3 * * *", PAUSED) == (after.definition["cron"], after.state)


async def test_workers_of_one_version_with_other_handlers_declare_together(store: Store) -> None:
    """None of them deletes what another declares; the next version does."""
    await publish(store, "v1", "a")
    await publish(store, "v1", "b")
    await publish(store, "v1", "a")
    assert ["a", "b"] == await names(store)
    await publish(store, "v2", "b")
    assert ["b"] == await names(store)


async def test_without_versions_the_start_that_comes_last_decides(store: Store) -> None:
    """As on the machine of somebody who writes handlers."""
    await publish(store, "", "a", "b")
    await publish(store, "", "b", description="x")
    await publish(store, "", "b")
    assert (["b"], False) == (await names(store), "description" in (await read(store, "b")).definition)


async def test_one_that_lies_in_the_past_is_no_fault(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """A single time in the code, long after: the log says so, the others are published."""
    caplog.set_level(logging.WARNING)
    gone = [Declared("once", {"at": ["2020-01-01T00:00:00Z"], "task": TASK}, "shop.py:9")]
    await store.declarations.publish(app("v1"), gone + declared("a"))
    assert ["a"] == await names(store)
    assert "once" in caplog.text


async def test_what_was_interrupted_is_done_by_whoever_comes_next(store: Store) -> None:
    """Killed at any step of a deploy; the next start leaves what is declared, and no more."""
    scripts = store.tasks.scripts
    for steps in range(1, 16):
        await publish(store, f"v{steps}-before", "a", "b")
        killed = Killed(steps, scripts.command, scripts.call)
        scripts.command, scripts.call = killed.command, killed.call  # type: ignore[method-assign]
        try:
            await publish(store, f"v{steps}", "b", "c")
        except asyncio.CancelledError:
            pass
        finally:
            del scripts.command, scripts.call
        await publish(store, f"v{steps}", "b", "c")
        assert ["b", "c"] == await names(store)


class Killed:
    """Lets so many commands through, and then nothing any more."""

    def __init__(self, steps: int, command: Any, call: Any) -> None:
        self.left, self.of = steps, {"command": command, "call": call}

    async def command(self, *args: Any) -> Any:
        return await self.do("command", *args)

    async def call(self, *args: Any) -> Any:
        return await self.do("call", *args)

    async def do(self, kind: str, *args: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise asyncio.CancelledError
        return await self.of[kind](*args)
