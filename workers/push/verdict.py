"""
What the outcome of a call says of its endpoint. Pure.
"""

from __future__ import annotations

from typing import Literal

from service.outcome import Accepted, Failed, Outcome, PutOff, Succeeded
from service.received import clip

MOST_ERROR_CHARS = 300
Verdict = Literal["well", "refused", "badly", ""]


def verdict_of(outcome: Outcome | Accepted | PutOff | None) -> Verdict:
    """
    `well`: it did the work; `refused`: it works, and would not do this; `badly`: no answer, or one that says that it is
    broken (5xx); empty: nothing can be told, as of a call that was put off, broken off, or never made.
    """
    if isinstance(outcome, Succeeded | Accepted):
        return "well"
    if not isinstance(outcome, Failed):
        return ""
    status = (outcome.http or {}).get("status")
    if status is None:
        return "badly" if outcome.retry else ""  # what cannot be called at all is not tried again
    if status >= 500:
        return "badly"
    return "well" if status < 300 else "refused"


def error_of(outcome: Outcome | Accepted | PutOff | None) -> str:
    """The error of a failure, in a line."""
    if not isinstance(outcome, Failed):
        return ""
    return clip(f"{outcome.error['type']}: {outcome.error['message']}", MOST_ERROR_CHARS)
