"""What the next release of the handlers brings: `faults.newer`, with a registry of its own."""

from __future__ import annotations

from workers.registry import Registry

registry = Registry()


@registry.task("faults.newer")
async def newer() -> str:
    return "by the newer worker"
