"""
The asynchronous client's methods for flow keys and groups: the same as `blocking_flows`, awaited.
"""

from __future__ import annotations

from typing import TypeVar, Unpack

from service.client.calls import Steps
from service.client.flows import Flow, FlowChange, Group
from service.client.shell import Shell

T = TypeVar("T")


class AsyncFlowKeeper(Shell):
    """What `AsyncTaskpost` can do with flow keys and groups."""

    async def _run(self, steps: Steps[T]) -> T:
        """Do what *steps* ask for until they return."""
        raise NotImplementedError

    async def flows(self) -> list[Flow]:
        """As `Taskpost.flows`."""
        return await self._run(self._flows.flows())

    async def flow(self, key: str) -> Flow:
        """As `Taskpost.flow`."""
        return await self._run(self._flows.flow(key))

    async def change_flow(self, key: str, **change: Unpack[FlowChange]) -> Flow:
        """As `Taskpost.change_flow`."""
        return await self._run(self._flows.change(key, change))

    async def reset_flow(self, key: str) -> Flow:
        """As `Taskpost.reset_flow`."""
        return await self._run(self._flows.reset(key))

    async def groups(self, queue: str) -> list[Group]:
        """As `Taskpost.groups`."""
        return await self._run(self._flows.groups(queue))

    async def weigh_group(self, queue: str, group: str, weight: float | None) -> Group:
        """As `Taskpost.weigh_group`."""
        return await self._run(self._flows.weigh(queue, group, weight))
