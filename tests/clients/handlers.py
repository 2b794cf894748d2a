"""
A handler with types of its own, for clients that are generated from what workers publish.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workers import task


@dataclass
class Receipt:
    """What became of a letter."""

    message_id: str
    recipients: list[str]
    size: int | None = None


@task("email:send")
async def send(to: str, template: Literal["hello", "bye"] = "hello", *, copies: int = 1) -> Receipt:
    """Send a letter."""
    return Receipt(message_id=f"{template}-{to}", recipients=[to] * copies)
