"""
How long each step of a call took, noted by who takes it.

A step that was not taken has no time: a kept connection needs no look-up, no connecting and no TLS. Times are seconds
of `clock`. The fact to know: what a mock answers was never on a wire, so nothing but the whole is known of it.
"""

from __future__ import annotations

from time import perf_counter as clock

__all__ = ["Trace", "clock"]


class Trace:
    """One call. *begun*, *sent*, *first_byte* and *ended* are moments, the others lengths; None: not known."""

    __slots__ = ("address", "begun", "connect", "dns", "ended", "first_byte", "is_reused", "sent", "tls")

    def __init__(self) -> None:
        self.begun = clock()
        self.dns: float | None = None
        self.connect: float | None = None
        self.tls: float | None = None
        self.sent: float | None = None
        self.first_byte: float | None = None
        self.ended: float | None = None
        self.address: str | None = None  # with its port
        self.is_reused: bool | None = None

    def begin_again(self) -> None:
        """The request is sent another time: what was noted of the last time is over, but not the time it took."""
        begun = self.begun
        self.__init__()  # type: ignore[misc]
        self.begun = begun

    def connected_as(self, tried: Trace) -> None:
        """The connection, or what was learnt of why there is none, is that of *tried*, one of several."""
        self.address, self.connect, self.tls = tried.address, tried.connect, tried.tls

    def times(self) -> list[float | None]:
        """Name look-up, connecting, TLS, wait for the first byte, body, and the whole until now; in ms."""
        waited = None if self.sent is None or self.first_byte is None else self.first_byte - self.sent
        read = None if self.first_byte is None or self.ended is None else self.ended - self.first_byte
        steps = (self.dns, self.connect, self.tls, waited, read)
        return [*(None if one is None else round(one * 1000, 2) for one in steps), self.total_ms()]

    def total_ms(self) -> float:
        """The time until now."""
        return round((clock() - self.begun) * 1000, 2)
