"""
`--reload`: when a Python file changes, processes with the new code take the place of those with the old.

For those who write handlers, not for production. Watches the `.py` files below the working directory, and the modules
or packages that the handlers come from where they lie elsewhere. The fact to know: the files are looked at twice a
second, because what reports changes by itself does not do so on network and container file systems.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from workers.crew import Crew

log = logging.getLogger("taskpost.worker")

LOOK_SECONDS = 0.5
SETTLE_SECONDS = 0.2  # an editor or a checkout writes many files; the last of them counts
SLOW_SECONDS = 0.5
PASSED_OVER = ("__pycache__", "node_modules", "site-packages")
Seen = dict[str, tuple[int, int, int]]  # path -> time of change, size, inode


class Reload:
    """Renews *crew* when the code changes. What is seen when it is made is the code from before."""

    def __init__(self, crew: Crew, handlers: str) -> None:
        self.crew, self.places = crew, places_of(handlers)
        began = time.monotonic()
        self.seen = look(self.places)
        self.look_seconds = time.monotonic() - began
        self.renewing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Look for ever; what changes while new processes start gives them up for newer ones."""
        log.info("reload: watching %s (Python files: %d)", " and ".join(map(str, self.places)), len(self.seen))
        if self.look_seconds > SLOW_SECONDS:
            slow = "reload: a look at all of them takes %.1f s; start in the project's own folder"
            log.warning(slow, self.look_seconds)
        try:
            while True:
                now = await self.look_after(max(LOOK_SECONDS, 4 * self.look_seconds))
                if self.renewing is not None and self.renewing.done():
                    self.renewing.result()
                    self.renewing = None
                if now != self.seen:
                    while now != (later := await self.look_after(SETTLE_SECONDS)):
                        now = later
                    await self.begin(changes(self.seen, now))
                    self.seen = now
        finally:
            if self.renewing is not None:
                self.renewing.cancel()

    async def look_after(self, seconds: float) -> Seen:
        await asyncio.sleep(seconds)
        return await asyncio.to_thread(look, self.places)

    async def begin(self, changed: Sequence[str]) -> None:
        """Renew the processes because these files *changed*."""
        more = " and others" if len(changed) > 3 else ""
        log.info("reload: %s%s changed; loading the handlers anew", ", ".join(changed[:3]), more)
        if self.renewing is not None:
            self.renewing.cancel()
            await asyncio.wait([self.renewing])
        self.renewing = asyncio.create_task(self.renew())

    async def renew(self) -> None:
        if await self.crew.renew():
            log.info("reload: done; what starts now runs the new code, what runs already finishes with the old")
        elif not self.crew.stopping.is_set():
            log.error("reload: the new code cannot be loaded, the lines above say why; the code from before goes on")


def places_of(handlers: str) -> list[Path]:
    """The working directory, and what *handlers* come from elsewhere. Imports nothing of the user's."""
    here = Path.cwd().resolve()
    places = [here]
    for place in handlers.split(","):
        name = place.partition(":")[0].partition(".")[0].strip()
        try:
            spec = importlib.util.find_spec(name) if name else None
        except (ImportError, ValueError):
            continue
        if spec is None:
            continue
        found = spec.submodule_search_locations or ([spec.origin] if spec.has_location and spec.origin else [])
        places += [path for path in (Path(one).resolve() for one in found) if not path.is_relative_to(here)]
    return list(dict.fromkeys(places))


def look(places: Sequence[Path]) -> Seen:
    """What the Python files in *places* look like now."""
    seen: Seen = {}
    for place in places:
        for path in python_files(place):
            try:
                stat = os.stat(path)  # noqa: PTH116  much faster
            except OSError:
                continue  # gone in the meantime
            seen[path] = stat.st_mtime_ns, stat.st_size, stat.st_ino
    return seen


def python_files(place: Path) -> Iterator[str]:
    """The file *place*, or those below it, without hidden folders and virtual environments."""
    if place.is_file():
        yield str(place)
        return
    for folder, below, files in os.walk(place):
        if "pyvenv.cfg" in files:
            below.clear()
            continue
        below[:] = [name for name in below if not name.startswith(".") and name not in PASSED_OVER]
        yield from (os.path.join(folder, name) for name in files if name.endswith(".py"))  # noqa: PTH118  much faster


def changes(before: Seen, now: Seen) -> list[str]:
    """Files that were changed, added or removed, as seen from here."""
    changed = sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))
    return [os.path.relpath(path) for path in changed]
