"""
One worker process as its parent sees it: started, told things, heard, killed; and what it holds.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable

from service.children import bind_to_parent
from workers import frames
from workers.frames import Frames
from workers.held import STACK_SIGNAL, Held, HeldTable, Wanted

# Room for the largest sizes that a worker may be given while it runs, twice: what runs, and what has finished and is
# not recorded yet. Rows that are not used take no memory.
ROWS = 2 * 22_000 + 256

Heard = Callable[["Process", int, int, int], None]


class Process:
    """A child and its table of held tasks. *heard* gets (process, kind, shard, lanes) of each frame it sends."""

    def __init__(self, number: int, worker: str, wanted: Wanted, heard: Heard) -> None:
        """*wanted* is looked at whenever the child starts; `apply` tells a running one that it has changed."""
        self.number, self.worker, self.wanted, self.heard = number, worker, wanted, heard
        self.table = HeldTable(ROWS)
        self.child: asyncio.subprocess.Process | None = None
        self.commands = -1
        self.leaving = asyncio.Event()  # it is not started again
        self.publishes = number == 0  # makes the handlers known; one process of a worker is enough
        self.is_trial = False  # when it does not get ready it is given up
        self.readied = asyncio.Event()  # ever
        self.is_ready = False
        self.was_killed = False  # by us: what it held did not crash it
        self.overstayed: list[Held] = []

    async def start(self) -> None:
        """
        Start the child, with a table and pipes of its own.

        Raises:
            OSError: the machine has no process or descriptor left.
        """
        self.table.close()
        self.table = HeldTable(ROWS)
        self.table.want(self.wanted)
        self.is_ready = self.was_killed = False
        commands_read, commands = os.pipe()
        answers, answers_write = os.pipe()
        command = [
            sys.executable, "-m", "workers.child", str(self.table.descriptor), str(ROWS), str(commands_read),
            str(answers_write), self.worker, "1" if self.publishes else "0",
        ]  # fmt: skip
        inherited = (self.table.descriptor, commands_read, answers_write)
        os.set_blocking(commands, False)
        os.set_blocking(answers, False)
        try:
            self.child = await asyncio.create_subprocess_exec(*command, pass_fds=inherited, preexec_fn=bind_to_parent())
        except BaseException:
            os.close(commands)
            os.close(answers)
            raise
        finally:
            os.close(commands_read)
            os.close(answers_write)
        self.commands = commands
        self.listen(answers)

    def listen(self, answers: int) -> None:
        """Hear the child until it ends."""
        loop, received = asyncio.get_running_loop(), Frames()

        def receive() -> None:
            text = os.read(answers, 65536)
            if not text:
                loop.remove_reader(answers)
                os.close(answers)
                return
            for kind, shard, lanes, _, _ in received.feed(text):
                if kind == frames.READY:
                    self.is_ready = True
                    self.readied.set()
                self.heard(self, kind, shard, lanes)

        loop.add_reader(answers, receive)

    async def wait(self) -> int:
        """The exit status, negative for a signal."""
        if self.child is None:
            raise RuntimeError("start() comes first")
        status = await self.child.wait()
        os.close(self.commands)
        self.commands = -1
        self.is_ready = False
        return status

    def tell(self, kind: int, shard: int = 0, id_: bytes = b"", token: bytes = b"") -> None:
        """Send a frame; a child that is gone or does not read hears nothing, and is noticed by other means."""
        if self.commands >= 0:
            try:
                os.write(self.commands, frames.pack(kind, shard, 0, id_, token))
            except (BlockingIOError, BrokenPipeError):
                pass

    def apply(self) -> None:
        """Let the child be as is wanted now."""
        self.table.want(self.wanted)
        self.tell(frames.LOOK)

    @property
    def pid(self) -> int | None:
        """The number of the child that runs; None between two of them."""
        return self.child.pid if self.child is not None and self.child.returncode is None else None

    def ask_stack(self) -> None:
        """Have the child write where its main thread is: see `HeldTable.stack`."""
        if self.is_ready and self.child is not None and self.child.returncode is None:
            self.table.expect_stack()
            self.child.send_signal(STACK_SIGNAL)

    def kill(self) -> None:
        """End the child at once."""
        if self.child is not None and self.child.returncode is None:
            self.was_killed = True
            self.child.kill()

    def end_for(self, late: list[Held]) -> None:
        """End the child because of these tasks."""
        self.overstayed = late
        self.kill()

    def take_held(self) -> list[Held]:
        """What the child held when it died; only once."""
        held = self.table.held()
        self.table.close()
        self.table = HeldTable(ROWS)
        return held
