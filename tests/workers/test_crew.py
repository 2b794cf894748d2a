"""How soon a process that died is started anew."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from service.settings import Settings
from workers.crew import Crew

MANY, DEADLINE_SECONDS = 15, 30.0


class Process:
    """One that dies each time, with a task in its hands."""

    number = 0

    def __init__(self) -> None:
        self.leaving = asyncio.Event()
        self.lives = 0

    def take_held(self) -> list[Any]:
        return [SimpleNamespace(id=bytes(16), token=bytes(12))]


class Mortal(Crew):
    """Its process lives for no time, and nothing is handed back."""

    async def live(self, process: Any) -> str | None:
        process.lives += 1
        if process.lives == MANY:
            process.leaving.set()
            return None
        return "died"

    async def recover(self, process: Any, lost: list[Any], said: str) -> None:
        pass


async def test_tasks_that_kill_hold_up_no_others() -> None:
    """Each is counted, and so stopped: a process is there again at once, however many went before."""
    process = Process()
    crew = Mortal(None, Settings(), "w", [process], asyncio.Event(), lambda *_: None, lambda _: None)
    await asyncio.wait_for(crew.supervise(process), DEADLINE_SECONDS)
    assert MANY == process.lives
