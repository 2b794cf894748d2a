"""
One call of a handler on its way through an executor, as its pool sees it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from workers.context import Context
from workers.handler import Handler
from workers.outcome import Outcome
from workers.pools import wire

if TYPE_CHECKING:
    from workers.pools.line import Line


class Call:
    """
    One attempt. *line* is the executor that it was sent to, None while it waits for one; *serial* its place among
    all that were sent there. *doom* is its outcome once its executor is to be killed, *passed_limit* the hard limit for
    which it is. *word* is what it is to be told when it begins. *limits* are those that no timer watches yet, with
    their times on the loop's clock.
    """

    __slots__ = (
        "began", "ctx", "doom", "frame", "handler", "is_ahead", "limits", "line", "number", "outcome",
        "passed_limit", "serial", "since", "timers", "word",
    )  # fmt: skip

    def __init__(
        self, number: int, handler: Handler[..., Any], args: dict[str, Any], ctx: Context,
        outcome: asyncio.Future[Outcome], now: float,
    ) -> None:  # fmt: skip
        self.number, self.handler, self.ctx, self.outcome, self.since = number, handler, ctx, outcome, now
        self.frame = wire.pack_call(number, handler.name, args, ctx)
        self.line: Line | None = None
        self.serial = 0
        self.doom: Outcome | None = None
        self.passed_limit: float | None = None
        self.word: tuple[int, str] | None = None
        self.is_ahead = False
        self.began = 0.0
        self.timers: list[asyncio.TimerHandle] = []
        self.limits: tuple[float, float | None] | None = None

    @property
    def is_over(self) -> bool:
        """Whether how it ends is decided."""
        return self.doom is not None or self.outcome.done()

    @property
    def has_begun(self) -> bool:
        """Whether it runs, or is what its executor runs next."""
        line = self.line
        return line is not None and (line.calls[0] is self or line.desk.begun >= self.serial)

    @property
    def is_last(self) -> bool:
        """Whether its executor has nothing to do behind it."""
        return self.line is not None and self.line.calls[-1] is self

    def end(self, outcome: Outcome) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)
