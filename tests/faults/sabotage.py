"""Handlers of which the import breaks a duty of the worker process, as a fault of ours would."""

from __future__ import annotations

import sys
from typing import Any

from tests.faults.handlers import default_registry as registry

__all__ = ["registry"]


async def turn(_self: Any) -> None:
    raise ZeroDivisionError("a duty is broken")


sys.modules["__main__"].Child.turn = turn  # type: ignore[attr-defined]
