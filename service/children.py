"""
Child processes: started, heard, started again when they die, and never outliving their parent.

Owns how a child is bound to its parent's life and how it is stopped. Refuses to know what a child does.
The fact to know: a SIGKILL of the parent runs no code of ours, so on Linux the kernel is asked beforehand to
signal the child; elsewhere a child of a killed parent stays until its owner ends it.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

PR_SET_PDEATHSIG = 1
# Looked up before any fork: between fork and exec a child must not import or lock.
_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
HEALTHY_SECONDS = 30.0  # a child that lived so long starts again without the pauses of its past
MOST_LINE_BYTES = 1024 * 1024


def bind_to_parent(sent: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """
    A `preexec_fn` after which the child is sent *sent* when the calling process ends, however it ends.

    The kernel watches the thread that forks, so fork from the main thread.
    """
    parent = os.getpid()

    def bind() -> None:
        if _prctl is None:
            return
        _prctl(PR_SET_PDEATHSIG, int(sent), 0, 0, 0)
        if os.getppid() != parent:  # it ended between the fork and the call above
            os._exit(1)

    return bind


class Child:
    """
    A process that is kept running: `run()` starts it again, after a growing pause, until `stop()`.

    *say* is given the child's name and each line that it prints, and what happens to it.
    """

    def __init__(
        self, name: str, command: Sequence[str], env: Mapping[str, str], say: Callable[[str, str], None]
    ) -> None:
        self.name, self.command, self.env, self.say = name, command, env, say
        self.has_died = False  # at least once, without being asked to
        self._process: asyncio.subprocess.Process | None = None
        self._is_stopping = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The number of the process that runs now or ran last."""
        return self._process.pid if self._process is not None else None

    async def run(self) -> None:
        """Keep the process running; return when it has ended after `stop()`."""
        clock = asyncio.get_running_loop().time
        pause_seconds = FIRST_PAUSE_SECONDS
        while not self._is_stopping.is_set():
            started = clock()
            status = await self._live()
            if self._is_stopping.is_set():
                return
            if clock() - started > HEALTHY_SECONDS:
                pause_seconds = FIRST_PAUSE_SECONDS
            self.has_died = True
            self.say(
                self.name, f"ended unexpectedly ({in_words(status)}); starts again in {pause_seconds:g} s"
            )
            try:
                await asyncio.wait_for(self._is_stopping.wait(), pause_seconds)
            except TimeoutError:
                pause_seconds = min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)

    def stop(self) -> None:
        """Ask the process to end in order, and `run()` not to start it again."""
        self._is_stopping.set()
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

    def kill(self) -> None:
        """End the process and all that it started, at once."""
        self._is_stopping.set()
        if self._process is not None and self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    async def _live(self) -> int:
        """One life of the process; its exit status."""
        self._process = process = await asyncio.create_subprocess_exec(
            *self.command,
            env=self.env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=MOST_LINE_BYTES,
            start_new_session=True,  # Ctrl-C reaches us alone; we say who stops when
            preexec_fn=bind_to_parent(),
        )
        hearing = asyncio.create_task(self._hear(process.stdout))
        if self._is_stopping.is_set():  # stop() came while the process was being made
            process.terminate()
        status = await process.wait()
        # What the process itself started may hold the pipe open, so its end is not waited for.
        await asyncio.wait({hearing}, timeout=1)
        hearing.cancel()
        return status

    async def _hear(self, lines: asyncio.StreamReader | None) -> None:
        while lines is not None:
            try:
                line = await lines.readline()
            except ValueError:
                line = b"(a line of more than %d bytes)\n" % MOST_LINE_BYTES
            if not line:
                return
            self.say(self.name, line.decode(errors="replace").rstrip())


def in_words(status: int) -> str:
    """An exit status as people say it: `status 1`, `SIGKILL`."""
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
