"""
API keys and what was done with them, as the client asks for it and reads it; what is said, without a network.

The fact to know: what makes a key is sent once, since a repetition would make another that nobody knows of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict
from urllib.parse import quote

import msgspec

from service.client.calls import JSON, Calls, Request, Steps, parsed
from service.client.many import Listing
from service.client.submission import document, encode
from service.client.types import View, view

PATH = "/v1/keys"
AUDIT_PATH = "/v1/audit"


Role = Literal["reader", "operator", "admin"]


class RateLimit(TypedDict):
    """So many *requests* in so many seconds."""

    requests: int
    window_seconds: float


class ApiKey(View, frozen=True, kw_only=True):
    """
    An API key, without what is secret of it. *state*: active, expired or revoked; *role*: that which its scopes are, if
    they are one.
    """

    id: str
    name: str
    namespace: str
    scopes: list[str]
    role: str | None = None
    state: str
    rate_limit: dict[str, float] | None = None
    created_at: datetime | None = None
    created_by: str | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.name} {self.state}>"


class NewApiKey(ApiKey, frozen=True, kw_only=True):
    """One that was made just now: *key* is shown this once."""

    key: str = msgspec.field(default="")

    __repr__ = ApiKey.__repr__


class AuditEntry(View, frozen=True, kw_only=True):
    """A call that changed something, or tried to: who, what, when, from where, and how it was answered."""

    at: datetime
    operation: str
    method: str
    path: str
    status: int
    key_id: str
    key_name: str
    address: str
    forwarded_for: str | None = None


class KeyCalls:
    """The operations on API keys of one API."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def create(self, name: str, scopes: Sequence[str], given: Mapping[str, Any]) -> Steps[NewApiKey]:
        wanted = {"scopes": list(scopes)} if scopes else {}
        body = {"name": name, **wanted, **document(given)}
        answer = yield from self._calls.ask(Request("POST", PATH, encode(body), JSON), is_repeatable=False)
        return view(NewApiKey, parsed(answer))

    def get(self, id_: str) -> Steps[ApiKey]:
        return (yield from self._calls.read(ApiKey, Request("GET", key_path(id_))))

    def revoke(self, id_: str) -> Steps[ApiKey]:
        return (yield from self._calls.read(ApiKey, Request("DELETE", key_path(id_))))

    def audit(self, limit: int | None) -> Listing[AuditEntry]:
        return Listing(self._calls, AuditEntry, AUDIT_PATH, {}, limit)

    def everything(self) -> Steps[list[ApiKey]]:
        return (yield from self._calls.everything(ApiKey, PATH))


def key_path(id_: str) -> str:
    if not id_:
        raise ValueError("the id of the key is needed, not an empty text")
    return f"{PATH}/{quote(id_, safe='')}"
