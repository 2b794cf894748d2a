"""
The `Retry-After` header of RFC 9110: a number of seconds, or a date.

Pure; bounded, because a server that errs must not put a task off for years.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MOST_SECONDS = 3600.0
SECONDS = re.compile(r"\d+(\.\d+)?", re.ASCII)


def retry_after_seconds(header: str, now: datetime) -> float | None:
    """
    The seconds from *now* that *header* asks for, from 0 to an hour; None when it says nothing that can be
    read.

    Fractions are read too, since servers send them; a date in the past means at once.
    """
    text = header.strip()
    if SECONDS.fullmatch(text):
        return min(float(text), MOST_SECONDS)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if at.tzinfo is None:  # "-0000", and the obsolete asctime form: HTTP dates are always UTC
        at = at.replace(tzinfo=UTC)
    return min(max((at - now).total_seconds(), 0.0), MOST_SECONDS)
