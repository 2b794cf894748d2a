"""
How many refused sign-ins are noted.

The fact to know: the audit log forgets the oldest, and anybody may try to sign in; who guesses keys without end must
not push out of it what others did.
"""

from __future__ import annotations

MOST_A_MINUTE = 20  # of one process


class Refusals:
    """Counts by the minute; *now* is in seconds, of any clock that does not go back."""

    def __init__(self) -> None:
        self.began, self.many = float("-inf"), 0

    def may_note(self, now: float) -> bool:
        """Whether one more is noted."""
        if now - self.began >= 60:
            self.began, self.many = now, 0
        self.many += 1
        return self.many <= MOST_A_MINUTE

    @property
    def is_first_unnoted(self) -> bool:
        return self.many == MOST_A_MINUTE + 1
