"""
`taskpost all`: the API, a worker and the scheduler in one place, for as long as the command runs; and how parts that
were started together are stopped.

For hosts that give one process: one dyno, one small machine. Each part is a process of its own, started again when
it dies. The fact to know: a host may send SIGTERM again and again, and to every process; that hurries nobody. A second
Ctrl-C does.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from service.children import Child

STOP_SECONDS = 28.0  # a worker drains for 20 and ends before 25
PARTS = ("web", "worker", "scheduler")


def parts_of(env: Mapping[str, str], say: Callable[[str, str], None]) -> dict[str, Child]:
    """The parts by name, each to be run with *env*."""
    command = [sys.executable, "-m", "service.cli"]
    return {name: Child(name, [*command, name], env, say) for name in PARTS}


async def stop(children: Iterable[Child], running: list[asyncio.Task[None]], hurried: asyncio.Event) -> None:
    """SIGTERM to all, and SIGKILL to those that are left after 28 s, or once *hurried* is set."""
    children = list(children)
    for child in children:
        child.stop()
    ended = asyncio.gather(*running, return_exceptions=True)
    hurrying = asyncio.ensure_future(hurried.wait())
    either: list[asyncio.Future[Any]] = [ended, hurrying]
    await asyncio.wait(either, timeout=STOP_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    hurrying.cancel()
    if not ended.done():
        for child in children:
            child.kill()
    await ended


async def run_all(env: Mapping[str, str], say: Callable[[str, str], None]) -> int:
    """Run the parts until SIGTERM or SIGINT; 0."""
    stopped, hurried = asyncio.Event(), asyncio.Event()

    def interrupt() -> None:
        (hurried if stopped.is_set() else stopped).set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    loop.add_signal_handler(signal.SIGINT, interrupt)
    children = parts_of(env, say)
    running = [asyncio.create_task(child.run()) for child in children.values()]
    await stopped.wait()
    await stop(children.values(), running, hurried)
    return 0
