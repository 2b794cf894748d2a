"""
What the client takes: the options of a submission, typed.

Owns their names, which are the contract's. Refuses to judge their values: the API does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict

Seconds = float | timedelta


class Options(TypedDict, total=False):
    """
    The options of a submission, with the contract's own names; None is the same as left out.

    Where the contract says seconds a timedelta will do, and for a time a datetime with a zone; a `callback` may be
    just its URL, a `backoff` just its list of delays.
    """

    url: str | None
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"] | None
    headers: Mapping[str, str] | None
    body: Any
    body_text: str | None
    body_base64: str | None
    envelope: bool | None
    retry_4xx: bool | None
    cancel_url: str | None
    queue: str | None
    priority: int | None
    delay_seconds: Seconds | None
    run_at: datetime | str | None
    expires_in_seconds: Seconds | None
    expires_at: datetime | str | None
    timeout_seconds: Seconds | None
    soft_timeout_seconds: Seconds | None
    retries: int | None
    retry_for_seconds: Seconds | None
    max_crashes: int | None
    backoff: Mapping[str, Any] | Iterable[Seconds] | None
    idempotency_key: str | None
    durability: str | None
    unique: Mapping[str, Any] | None
    debounce: Mapping[str, Any] | None
    flow: str | Mapping[str, Any] | None
    group: str | None
    tags: Iterable[str] | None
    metadata: Mapping[str, Any] | None
    result_ttl_seconds: Seconds | None
    callback: str | Mapping[str, Any] | None
    parent: str | None
    traceparent: str | None


class Submission(Options, total=False):
    """One submission of `submit_many` or `stream`: `{"name": "demo.add", "args": {"a": 2, "b": 3}}`."""

    name: str | None
    args: Mapping[str, Any] | None
