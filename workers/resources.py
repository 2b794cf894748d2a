"""
Opens what `@lifespan` declares, before a process runs its first task, and closes it at the end, last opened first.

Each process that runs handlers has its own: a worker process for its `async` and `thread` handlers, on its event loop,
and each child of the process pool for its `process` handlers. The fact to know: a process opens what its handlers
depend on, and what no handler anywhere depends on; so a pool of connections for async handlers is not opened in every
child.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any

from workers import around, depends
from workers.depends import Resource
from workers.registry import Registry


class Lifespan:
    """What is open in this process for handlers of *lanes*."""

    def __init__(self, registry: Registry, lanes: Iterable[str]) -> None:
        self.chosen = resources_of(registry, frozenset(lanes))
        self.stack = AsyncExitStack()

    async def __aenter__(self) -> Lifespan:
        """Open all; what one raises is raised, and what was open is closed."""
        try:
            attempt = depends.Attempt(None, self.stack)
            for resource in self.chosen:
                resource.value = await attempt.make(resource)
            for resource in self.chosen:
                resource.is_open = True
        except BaseException:
            await self.stack.aclose()
            raise
        return self

    async def __aexit__(self, *about: Any) -> None:
        for resource in self.chosen:
            resource.is_open, resource.value = False, None
        await self.stack.aclose()

    def __enter__(self) -> Lifespan:
        """The same without a loop of the caller's: async ones live on this thread's own."""
        if self.chosen:
            around.own_loop().run_until_complete(self.__aenter__())
        return self

    def __exit__(self, *about: Any) -> None:
        if self.chosen:
            around.own_loop().run_until_complete(self.__aexit__())
        around.close_own_loop()


def resources_of(registry: Registry, lanes: frozenset[str]) -> list[Resource[Any]]:
    """What a process opens that runs handlers of *lanes*, in the order of declaration."""
    handlers = list(registry)
    if not any(handler.lane in lanes for handler in handlers):
        return []
    needed: dict[str, set[Any]] = {}
    for handler in handlers:
        needed.setdefault(handler.lane, set()).update(depends.functions_of(handler.needs.values()))
    ours = set().union(*(functions for lane, functions in needed.items() if lane in lanes))
    anybody = set().union(*needed.values())
    declared = {resource: None for handler in handlers for resource in handler.surroundings.resources}
    declared |= dict.fromkeys(one for one in ours if isinstance(one, Resource))
    return [resource for resource in declared if resource in ours or resource not in anybody]
