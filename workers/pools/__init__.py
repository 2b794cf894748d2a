"""
Where handlers run: coroutines on the loop, plain functions in child processes or on threads.

A pool answers how the attempt ended and never raises for what a handler does, whatever that is. It knows
nothing of Redis, leases or retries. Its caller never gives it more than it has room for.
"""

from __future__ import annotations

from typing import Any, Protocol

from workers.context import Context
from workers.handler import Handler
from workers.outcome import Outcome


class Pool(Protocol):
    """What every pool does."""

    async def call(
        self,
        handler: Handler[..., Any],
        kwargs: dict[str, Any],
        ctx: Context,
        timeout: float,
        soft_timeout: float | None = None,
    ) -> Outcome:
        """
        Run *handler* once with *kwargs*, and with *ctx* where it asks for one.

        After *soft_timeout* seconds it is told, after *timeout* seconds it is stopped. `ctx.stop` stops it
        before.

        Raises:
            asyncio.CancelledError: the caller itself was cancelled; the handler was stopped as far as it
                can be.
        """
        ...
