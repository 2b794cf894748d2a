"""Child processes: heard, started again, stopped, and never left behind."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service.children import Child
from service.embedded import is_alive
from tests.servers import until

PRINTS_AND_WAITS = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
STARTS_A_CHILD = """
import asyncio, os, sys
from service.children import Child

async def main():
    command = [sys.executable, "-c", sys.argv[1]]
    child = Child("child", command, dict(os.environ), lambda name, said: print(said, flush=True))
    await child.run()

asyncio.run(main())
"""


class Heard:
    """What children say, as it comes."""

    def __init__(self) -> None:
        self.lines: asyncio.Queue[str] = asyncio.Queue()

    def __call__(self, name: str, said: str) -> None:
        self.lines.put_nowait(said)

    async def next(self, wanted: Callable[[str], bool] = bool) -> str:
        async with asyncio.timeout(60):
            while not wanted(line := await self.lines.get()):
                pass
            return line


def child(program: str, heard: Heard) -> Child:
    return Child("part", [sys.executable, "-c", program], dict(os.environ), heard)


async def test_a_child_that_dies_is_started_again_and_that_is_said() -> None:
    """A crashed worker is back without anybody doing anything, and the terminal says what happened."""
    heard = Heard()
    part = child(PRINTS_AND_WAITS, heard)
    running = asyncio.create_task(part.run())
    first = int(await heard.next())
    os.kill(first, 9)
    assert "SIGKILL" in await heard.next(lambda line: "unexpectedly" in line)
    assert int(await heard.next()) != first
    assert part.has_died
    part.stop()
    await running


async def test_a_stopped_child_stays_stopped() -> None:
    """An orderly end is no crash."""
    heard = Heard()
    part = child(PRINTS_AND_WAITS, heard)
    running = asyncio.create_task(part.run())
    pid = await heard.next()
    part.stop()
    await running
    assert not part.has_died
    assert not is_alive(pid)


async def test_a_child_that_is_deaf_to_sigterm_can_be_killed_with_what_it_started() -> None:
    """The last resort leaves nothing behind."""
    heard = Heard()
    program = (
        "import os, signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "other = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()']);"
        "print(other.pid, flush=True); other.wait()"
    )
    part = child(program, heard)
    running = asyncio.create_task(part.run())
    grandchild = await heard.next()
    part.stop()
    part.kill()
    await running
    until(lambda: has_ended(grandchild), "the child of the child ends")


async def test_a_line_of_any_length_does_not_stop_the_hearing() -> None:
    """One line of megabytes is left out; the next one is heard."""
    heard = Heard()
    part = child("print('x' * 3_000_000); print('after', flush=True); import signal; signal.pause()", heard)
    running = asyncio.create_task(part.run())
    assert await heard.next(lambda line: line == "after")
    part.stop()
    await running


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals the children of a killed process")
async def test_a_child_ends_with_its_killed_parent() -> None:
    """A SIGKILL of `taskpost up` leaves no worker behind."""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STARTS_A_CHILD, PRINTS_AND_WAITS, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = (await parent.stdout.readline()).decode().strip()
    assert is_alive(pid)
    parent.kill()
    await parent.wait()
    until(lambda: has_ended(pid), "the child ends")


def has_ended(pid: str) -> bool:
    """Gone, or dead and not yet collected by whoever inherited it."""
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return not is_alive(pid)
