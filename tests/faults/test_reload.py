"""`--reload`: a project of its own, changed while its worker runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from service.store import Store
from service.task import Snapshot
from tests.faults.acting import Part, eventually, lines, outcome, submit, until_ended
from tests.servers import Server
from tests.store.acting import new as new_task

Start = Callable[..., Part]

CODE = """
import asyncio, os, time
from pathlib import Path
from workers import task
from shop.words import WORD

@task("shop.say")
async def say(wait_for: str = "") -> str:
    if wait_for:
        with open(wait_for + ".began", "a") as file:
            file.write(f"ran {os.getpid()}\\n")
        while not Path(wait_for).exists():
            await asyncio.sleep(0.02)
    return WORD

@task("shop.child")
def child(wait_for: str) -> str:
    with open(wait_for + ".began", "a") as file:
        file.write(f"ran {os.getpid()}\\n")
    while not Path(wait_for).exists():
        time.sleep(0.02)
    return WORD
"""


class Shop:
    """A package of handlers, and tasks for them."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store = folder, store
        (folder / "shop").mkdir(parents=True)
        (folder / "shop" / "__init__.py").touch()
        (folder / "shop" / "tasks.py").write_text(CODE)
        self.words("old")

    def words(self, word: str) -> None:
        (self.folder / "shop" / "words.py").write_text(f"WORD = {word!r}\n")

    async def submit(self, name: str = "say", lane: str = "async", **args: str) -> bytes:
        [id_] = await submit(self.store, new_task({"name": f"shop.{name}", "args": args}, lane=lane))
        return id_

    async def said(self) -> str:
        """What a task of now answers."""
        [found] = await until_ended(self.store, await self.submit())
        return str(outcome(found)[1])

    async def end(self, *ids: bytes) -> list[Snapshot]:
        return await until_ended(self.store, *ids)


@pytest.fixture
def shop(tmp_path: Path, store: Store) -> Shop:
    return Shop(tmp_path / "project", store)


async def test_new_attempts_run_the_new_code_and_running_ones_finish(
    shop: Shop, start: Start, tmp_path: Path, store: Store
) -> None:
    """On the loop and in a child process, well beyond the time that a stopping worker gives; no attempt is spent."""
    gate = tmp_path / "gate"
    worker = start(folder=shop.folder, handlers="shop.tasks", reload="1", drain_seconds="0", processes="2")
    await worker.ready()
    running = [await shop.submit(wait_for=str(gate)), await shop.submit("child", "process", wait_for=str(gate))]
    await eventually(lambda: len(lines(f"{gate}.began")) == 2, "both run")
    shop.words("new")
    await eventually(lambda: "reload: done" in worker.text, "the new code is loaded")
    assert f"reload: {Path('shop/words.py')} changed" in worker.text
    assert ["new"] * 8 == [await shop.said() for _ in range(8)]
    gate.touch()
    found = await shop.end(*running)
    assert [("succeeded", "old")] * 2 == [outcome(one) for one in found]
    assert [1, 1] == [(one.record.outcome or {}).get("attempt", 1) for one in found]
    await eventually(lambda: len(worker.children()) == 2, "the old processes have ended")
    assert worker.text.count("is ready") == 4
    assert 0 == await worker.stop()


async def test_code_that_cannot_be_loaded_changes_nothing(shop: Shop, start: Start) -> None:
    """A syntax error is shown with its line; the code from before serves on, until the next change."""
    worker = await start(folder=shop.folder, handlers="shop.tasks", reload="1").ready()
    before = worker.children()
    (shop.folder / "shop" / "words.py").write_text("WORD = 'new\n")
    await eventually(lambda: "the code from before goes on" in worker.text)
    assert "SyntaxError: unterminated string literal" in worker.text
    assert before == worker.children()
    assert "old" == await shop.said()
    shop.words("new")
    await eventually(lambda: "reload: done" in worker.text)
    assert "new" == await shop.said()


async def test_a_change_while_code_is_loaded_gives_that_code_up(shop: Shop, start: Start) -> None:
    """Code that never comes to its end while it is imported does not keep what comes after it from being loaded."""
    worker = await start(folder=shop.folder, handlers="shop.tasks", reload="1").ready()
    (shop.folder / "shop" / "words.py").write_text("import time\ntime.sleep(3600)\n")
    await eventually(lambda: "changed; loading" in worker.text and len(worker.children()) == 2)
    shop.words("third")
    await eventually(lambda: "reload: done" in worker.text)
    assert "third" == await shop.said()
    await eventually(lambda: len(worker.children()) == 1)


async def test_the_changed_handlers_are_published(
    shop: Shop, start: Start, store: Store, tmp_path: Path, redis_server: Server
) -> None:
    """New handlers and arguments are known to the API; the old process, still busy, does not publish its own again."""
    worker = await start(folder=shop.folder, handlers="shop.tasks", reload="1").ready()
    held = await shop.submit(wait_for=str(tmp_path / "gate"))
    await eventually(lambda: lines(tmp_path / "gate.began"))
    more = '\n@task("shop.more")\nasync def more() -> int:\n    return 1\n'
    (shop.folder / "shop" / "tasks.py").write_text(CODE.replace("wait_for: str", "wait: int, wait_for: str") + more)
    await eventually(lambda: "reload: done" in worker.text)

    async def arguments() -> dict[str, list[str]]:
        await store.handlers.refresh()
        book = store.handlers.handlers.items()
        return {name: sorted(one["args_schema"].get("properties", {})) for (_, name), one in book}

    new = {"shop.say": ["wait", "wait_for"], "shop.child": ["wait", "wait_for"], "shop.more": []}
    assert new == await arguments()
    redis_server.admin.delete("tp:{0}:handlers")  # as if Redis had lost them
    await eventually(arguments, "they are published again")
    assert new == await arguments()
    (tmp_path / "gate").touch()
    await shop.end(held)


async def test_a_stop_during_a_reload_ends_old_and_new(shop: Shop, start: Start, tmp_path: Path) -> None:
    """The old process that finishes its tasks has the usual time then, no more."""
    worker = await start(folder=shop.folder, handlers="shop.tasks", reload="1", drain_seconds="0").ready()
    held = await shop.submit(wait_for=str(tmp_path / "never"))
    await eventually(lambda: lines(tmp_path / "never.began"))
    shop.words("new")
    await eventually(lambda: "reload: done" in worker.text)
    assert 2 == len(worker.children())
    assert 0 == await worker.stop()
    [found] = await shop.store.tasks.read([held])
    assert found is not None
    assert ("queued", 0) == (found.state, found.run.attempt if found.run else None)


async def test_without_reload_a_change_is_not_looked_at(shop: Shop, start: Start) -> None:
    """A worker in production runs the code that it was started with."""
    worker = await start(folder=shop.folder, handlers="shop.tasks").ready()
    shop.words("new")
    assert "old" == await shop.said()
    assert "reload" not in worker.text
