"""
Says who calls, to endpoints that want more than a signature: puts their credentials on a request.

Settings are read again when they are over two seconds old and a call needs them. A header that the submission names
itself is left as it is.
The fact to know: what proves who we are is in a request and nowhere else; `Used` takes it out of whatever comes back.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.credentials import audience_of
from service.identity import TOKEN_SECONDS, IdentityKey
from service.store.endpoints import EndpointBook, EndpointSettings
from service.store.secrets import Secrets
from workers.push.call import Call
from workers.push.fresh import Fresh
from workers.push.hidden import Hidden
from workers.push.tokens import Send, Tokens

SPARE_SECONDS = 60  # an identity token with less left is made again


@dataclass(slots=True)
class Used:
    """The credentials of one call: what has to stay hidden, the client certificate, and a token that may be stale."""

    hidden: Hidden = field(default_factory=Hidden)
    certificate: tuple[str, str] | None = field(default=None, repr=False)
    kept_token: tuple[Mapping[str, Any], str, str] | None = field(default=None, repr=False)


class Credentials:
    """Knows the credentials of endpoints, fetches and makes tokens. One for each worker process."""

    def __init__(self, settings: EndpointSettings, secrets: Secrets, issuer: str) -> None:
        """*issuer* is who identity tokens are by."""
        self._book = Fresh(EndpointBook(settings).renew, "the credentials of endpoints")
        self._keys = Fresh(secrets.identity, "the key of identity tokens")
        self._issuer = issuer.rstrip("/")
        self._tokens = Tokens()
        self._identities: dict[tuple[str, str], tuple[str, float]] = {}

    async def apply(self, call: Call, namespace: str, used: Used, send: Send) -> None:
        """
        Put the credentials of the endpoint that *call* calls on it, and note them in *used*. *send* makes requests
        for access tokens.

        Raises:
            StoreUnavailable, StoreFull: the settings were never read, and cannot be now.
            TokenRefused: no access token could be had.
        """
        auth = (await self._book.get()).auth(namespace, call.endpoint)
        if auth is None:
            return
        match auth["kind"]:
            case "basic":
                pair = b64encode(f"{auth['username']}:{auth['password']}".encode()).decode()
                used.hidden.add(auth["password"], pair)
                offer(call, "Authorization", f"Basic {pair}")
            case "bearer":
                bear(call, auth["token"], used)
            case "headers":
                for name, value in auth["headers"].items():
                    used.hidden.add(value, *value.split(" ")[1:])
                    offer(call, name, value)
            case "oauth2_client_credentials":
                used.hidden.add(auth["client_secret"])
                token = await self._tokens.token(auth, namespace, send)
                bear(call, token, used)
                used.kept_token = (auth, namespace, token)
            case "oidc":
                bear(call, await self._identity(namespace, audience_of(auth, call.url)), used)
            case "mtls":
                used.certificate = (auth["certificate"], auth["private_key"])

    async def renewed(self, call: Call, used: Used, send: Send) -> bool:
        """Whether *call*, which was answered 401, now carries another access token. Raises TokenRefused."""
        if used.kept_token is None or call.headers.get("authorization") != f"Bearer {used.kept_token[2]}":
            return False
        auth, namespace, stale = used.kept_token
        token = await self._tokens.token(auth, namespace, send, other_than=stale)
        used.kept_token = None
        used.hidden.add(token)
        call.headers["Authorization"] = f"Bearer {token}"
        return token != stale

    async def _identity(self, namespace: str, audience: str) -> str:
        """An identity token for *audience*; the same one for four minutes."""
        now = time.time()
        token, until = self._identities.get((namespace, audience), ("", 0.0))
        if until - SPARE_SECONDS <= now:
            (pem, *_) = await self._keys.get()
            token = IdentityKey(pem).token(
                issuer=self._issuer, subject=f"taskpost:{namespace}", audience=audience, now_seconds=int(now)
            )
            self._identities = {place: one for place, one in self._identities.items() if one[1] > now}
            self._identities[namespace, audience] = (token, int(now) + TOKEN_SECONDS)
        return token


def bear(call: Call, token: str, used: Used) -> None:
    """Offer a bearer token (RFC 6750)."""
    used.hidden.add(token)
    offer(call, "Authorization", f"Bearer {token}")


def offer(call: Call, name: str, value: str) -> None:
    """Set a header unless the submission did."""
    call.headers.setdefault(name, value)
