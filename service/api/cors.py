"""
Pages of other origins: which may use the API from a browser (Fetch Standard, CORS), and which may open a WebSocket.

The fact to know: without `TASKPOST_CORS_ORIGINS` no page of another origin can read an answer, as browsers have it.
Credentials are never allowed: a page sends a key or a read token by itself, not the browser for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.protocol import ANSWER

METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
HEADERS = b"authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id, prefer"
EXPOSED = b"etag, idempotent-replayed, location, preference-applied, ratelimit, ratelimit-policy, retry-after"
MAX_AGE_SECONDS = 7200  # the longest that browsers take


class Origins:
    """Those of *setting*: origins by comma, or `*` for all of them."""

    def __init__(self, setting: str) -> None:
        self.allowed = frozenset(one.strip().encode() for one in setting.split(",") if one.strip())

    def allows(self, origin: bytes | None) -> bool:
        return origin is not None and (origin in self.allowed or b"*" in self.allowed)

    def may_connect(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a WebSocket may be opened: by what is no browser, by a page of ours, or by one that is allowed."""
        origin = headers.get(b"origin")
        return origin is None or self.allows(origin) or is_own(origin, headers.get(b"host", b""))


def is_own(origin: bytes, host: bytes) -> bool:
    """Whether a page of *origin* comes from the *host* that it asks."""
    try:
        return urlsplit(origin).netloc.lower() == host.lower() != b""
    except ValueError:
        return False


class Cors:
    """*app*, with what browsers ask before pages of other origins may use it."""

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self.app, self.origins = app, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        origin = headers.get(b"origin")
        if not self.origins.allows(origin):
            await self.app(scope, receive, send)
            return
        allowed = [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            await send({"type": "http.response.start", "status": 204, "headers": [*allowed, *PREFLIGHT]})
            await send({"type": "http.response.body", "body": b""})
            return
        scope.get("extensions", {}).pop(ANSWER, None)  # an answer written past us would lack the fields

        async def with_fields(message: Message) -> None:
            if message["type"] == "http.response.start":
                fields = [*message.get("headers", ()), *allowed, (b"access-control-expose-headers", EXPOSED)]
                message = {**message, "headers": fields}
            await send(message)

        await self.app(scope, receive, with_fields)


PREFLIGHT = [
    (b"access-control-allow-methods", METHODS),
    (b"access-control-allow-headers", HEADERS),
    (b"access-control-max-age", b"%d" % MAX_AGE_SECONDS),
]
