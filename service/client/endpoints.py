"""
Endpoints as the client hands them out: how their calls go, and what is set for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict

import msgspec

from service.client.types import View


class EndpointSettings(TypedDict, total=False):
    """What can be set for an endpoint; None takes it away, so that the default counts."""

    concurrency: int | None
    breaker_failures: int | None
    breaker_ratio: float | None


class EndpointCall(TypedDict, total=False):
    """A test call; what is left out, or None, is as the contract's `EndpointTest` has it."""

    path: str | None
    method: str | None
    headers: Mapping[str, str] | None
    body: Any
    timeout_seconds: float | None


class CallCounts(msgspec.Struct, frozen=True):
    """The calls of the last ten to twenty minutes: answered 2xx; 3xx or 4xx; 5xx or not at all."""

    succeeded: int
    refused: int
    failed: int


class DisabledUrl(msgspec.Struct, frozen=True):
    """A URL that answered 410 *at* some time, and is not called *until* another."""

    url: str
    at: datetime
    until: datetime


class Endpoint(View, frozen=True, kw_only=True):
    """An endpoint as it stood when it was read. *circuit* is `closed`, `open` or `half_open`."""

    name: str
    disabled: bool
    circuit: str
    calls: CallCounts
    disabled_at: datetime | None = None
    disabled_reason: str | None = None
    disabled_urls: Sequence[DisabledUrl] = ()
    circuit_reason: str | None = None
    circuit_opened_at: datetime | None = None
    next_probe_at: datetime | None = None
    concurrency: int | None = None
    breaker_failures: int | None = None
    breaker_ratio: float | None = None
    has_credentials: bool = False
    success_rate: float | None = None
    p50_seconds: float | None = None
    p95_seconds: float | None = None
    in_flight: int = 0
    succeeded_at: datetime | None = None
    failed_at: datetime | None = None
    failing_since: datetime | None = None
    last_error: str | None = None
