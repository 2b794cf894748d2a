"""A worker that has said goodbye ends, whatever is left on its event loop."""

from __future__ import annotations

import subprocess
import sys

from tests.servers import DEADLINE_SECONDS

STUBBORN = """
import asyncio, sys
from service.settings import Settings
from workers import parent

async def refuse_to_end():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

class Parent:
    def __init__(self, settings):
        pass

    async def run(self):
        self.left = asyncio.create_task(refuse_to_end())
        await asyncio.sleep(0)
        return 0

parent.Parent = Parent
sys.exit(parent.run(Settings()))
"""


def test_what_is_left_on_the_loop_holds_no_worker_back() -> None:
    """A task that refuses to be cancelled is named, and the process ends in order."""
    ended = subprocess.run(
        [sys.executable, "-c", STUBBORN], capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
    )
    assert (0, True) == (ended.returncode, "refuse_to_end" in ended.stdout + ended.stderr), ended
