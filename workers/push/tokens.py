"""
Access tokens by OAuth 2 client credentials (RFC 6749, 4.4): fetched once for all calls, kept until shortly before their
end.

The fact to know: a fetch belongs to nobody; a call that is cancelled meanwhile takes the token from no other.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any
from urllib.parse import quote_plus, urlencode

import httpx
import orjson

from service.errors import EgressDenied
from service.received import clip
from service.request import place_of
from workers.push.hidden import Hidden

Send = Callable[[httpx.Request], Awaitable[tuple[int, bytes]]]  # answers status and body
FETCH_SECONDS = 20
SPARE_SECONDS = 30.0
UNSAID_SECONDS = 300.0  # how long a token is good for that does not say so
MOST_TOKENS = 10_000
TOKEN = re.compile(r"[!-~]{1,16384}")  # it becomes a header


class TokenRefused(Exception):
    """No access token could be had; the text says from where and why, without a secret."""


@dataclass(slots=True)
class Token:
    text: str
    until: float

    def __repr__(self) -> str:
        return f"<Token until {self.until:.0f}>"


class Tokens:
    """Access tokens by what they are fetched with."""

    def __init__(self) -> None:
        self._kept: dict[bytes, Token] = {}
        self._fetching: dict[bytes, asyncio.Task[Token]] = {}

    async def token(
        self, auth: Mapping[str, Any], namespace: str, send: Send, other_than: str | None = None
    ) -> str:
        """
        A token for *auth*; a new one when the one that is kept is *other_than*, which an endpoint refused. *send* makes
        the request under the rules of *namespace*.

        Raises:
            TokenRefused: none could be had.
        """
        key = orjson.dumps([namespace, dict(auth)], option=orjson.OPT_SORT_KEYS)
        kept = self._kept.get(key)
        if kept is not None and kept.until > monotonic() and kept.text != other_than:
            return kept.text
        fetching = self._fetching.get(key)
        if fetching is None:
            fetching = self._fetching[key] = asyncio.create_task(self._fetch(key, auth, send))
        return (await asyncio.shield(fetching)).text

    async def _fetch(self, key: bytes, auth: Mapping[str, Any], send: Send) -> Token:
        place = place_of(auth["token_url"])
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                status, body = await send(request_of(auth))
            token = token_of(status, body, place, auth)
        except TimeoutError as exc:
            raise TokenRefused(f"no access token from {place}: no answer within {FETCH_SECONDS} s") from exc
        except (httpx.HTTPError, EgressDenied) as exc:
            told = hidden_in(auth).without(f"no access token from {place}: {exc}")
            raise TokenRefused(clip(told, 1000)) from None
        finally:
            del self._fetching[key]
        now = monotonic()
        self._kept = {place: one for place, one in self._kept.items() if one.until > now and place != key}
        if len(self._kept) < MOST_TOKENS:
            self._kept[key] = token
        return token


def request_of(auth: Mapping[str, Any]) -> httpx.Request:
    """The request for a token (RFC 6749, 4.4.2 and 2.3.1)."""
    form = {"grant_type": "client_credentials"}
    form |= {name: auth[name] for name in ("scope", "audience") if name in auth}
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    headers |= {"User-Agent": "Taskpost", "Accept-Encoding": "identity"}
    if auth.get("client_in_body"):
        form |= {"client_id": auth["client_id"], "client_secret": auth["client_secret"]}
    else:
        headers["Authorization"] = f"Basic {basic_of(auth)}"
    return httpx.Request("POST", auth["token_url"], headers=headers, content=urlencode(form).encode())


def basic_of(auth: Mapping[str, Any]) -> str:
    """Id and secret as Basic authentication takes them (RFC 6749, 2.3.1)."""
    return b64encode(f"{quote_plus(auth['client_id'])}:{quote_plus(auth['client_secret'])}".encode()).decode()


def hidden_in(auth: Mapping[str, Any]) -> Hidden:
    """What a server of tokens may send back and nobody may see: the secret, in each form in which it was sent."""
    hidden = Hidden()
    hidden.add(auth["client_secret"], quote_plus(auth["client_secret"]), basic_of(auth))
    return hidden


def token_of(status: int, body: bytes, place: str, auth: Mapping[str, Any]) -> Token:
    """
    The token that was answered (RFC 6749, 5.1).

    Raises:
        TokenRefused: it is none (5.2).
    """
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        told = None
    said: dict[str, Any] = told if isinstance(told, dict) else {}
    text, kind = said.get("access_token"), str(said.get("token_type", "bearer"))
    if status != 200 or not isinstance(text, str):
        why = " ".join(str(said[name]) for name in ("error", "error_description") if name in said)
        told_why = clip(hidden_in(auth).without(f": {why}" if why else ""), 500)
        raise TokenRefused(f"no access token from {place}: it answered {status}{told_why}")
    if kind.lower() != "bearer" or not TOKEN.fullmatch(text):
        raise TokenRefused(f"no access token from {place}: it answered one that is no bearer token of printable ASCII")
    seconds = said.get("expires_in")
    seconds = float(seconds) if isinstance(seconds, int | float) and seconds > 0 else UNSAID_SECONDS
    return Token(text, monotonic() + seconds - min(SPARE_SECONDS, seconds / 10))
