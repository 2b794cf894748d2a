"""
The synchronous client's methods for flow keys and groups.
"""

from __future__ import annotations

from typing import TypeVar, Unpack

from service.client.calls import Steps
from service.client.flows import Flow, FlowChange, Group
from service.client.shell import Shell

T = TypeVar("T")


class FlowKeeper(Shell):
    """What `Taskpost` can do with flow keys and groups."""

    def _run(self, steps: Steps[T]) -> T:
        """Do what *steps* ask for until they return."""
        raise NotImplementedError

    def flows(self) -> list[Flow]:
        """The flow keys, by name, with their limits and how they stand."""
        return self._run(self._flows.flows())

    def flow(self, key: str) -> Flow:
        """How a flow key stands. Raises NotFound."""
        return self._run(self._flows.flow(key))

    def change_flow(self, key: str, **change: Unpack[FlowChange]) -> Flow:
        """Set limits of a flow key, pause, resume, pin or unpin it; None takes a limit away. Raises Refused."""
        return self._run(self._flows.change(key, change))

    def reset_flow(self, key: str) -> Flow:
        """Forget what the rate of a flow key has used up. Raises NotFound."""
        return self._run(self._flows.reset(key))

    def groups(self, queue: str) -> list[Group]:
        """The groups of a queue, by name, with their weights."""
        return self._run(self._flows.groups(queue))

    def weigh_group(self, queue: str, group: str, weight: float | None) -> Group:
        """Set how much of a queue a group gets beside the others, from its next turn on. Raises Refused."""
        return self._run(self._flows.weigh(queue, group, weight))
