"""
The cookie that stands for a key, and whether what comes with it was asked by a page of ours.

Browsers add cookies by themselves, whoever asks. SameSite=Strict keeps other sites out; Fetch metadata (or Origin, or
Referer, where a browser sends none) keeps out whatever shares our site: another port, another subdomain.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from service.api.cors import is_own
from service.errors import Forbidden

NAME = b"taskpost_session"
PORT = re.compile(rb":([0-9]{1,5})\Z")
FLAGS = "Path=/; HttpOnly; SameSite=Strict"
Headers = Mapping[bytes, bytes]


def name_of(headers: Headers) -> bytes:
    """
    What the cookie is called at the address that was asked for. Browsers send a cookie to all ports of a host: two
    deployments on one machine would sign each other's users out.
    """
    port = PORT.search(headers.get(b"host", b""))
    return NAME + b"_" + port[1] if port else NAME


def session_in(headers: Headers) -> bytes | None:
    """The token of the session that a request brings."""
    ours = name_of(headers)
    for one in headers.get(b"cookie", b"").split(b";"):
        name, _, value = one.strip().partition(b"=")
        if name == ours and value:
            return value
    return None


def set_cookie(token: bytes, seconds: int, headers: Headers) -> str:
    """The value of Set-Cookie; an empty *token* takes the cookie away. Only https sees it where a page came by that."""
    by_https = headers.get(b"origin", b"").startswith(b"https:") or headers.get(b"x-forwarded-proto") == b"https"
    name = name_of(headers).decode()
    return f"{name}={token.decode()}; Max-Age={seconds}; {FLAGS}" + ("; Secure" if by_https else "")


def check_page(headers: Headers, *, changes: bool) -> None:
    """
    Let through what a page of ours asks for; also what no page does, unless it *changes* something.

    Raises:
        Forbidden: another page asked, or nobody can tell.
    """
    site = headers.get(b"sec-fetch-site")
    source = headers.get(b"origin") or headers.get(b"referer")
    if site is not None:
        is_ours = site == b"same-origin" or (site == b"none" and not changes)
    elif source is not None:
        is_ours = is_own(source, headers.get(b"host", b""))
    else:
        is_ours = not changes
    if not is_ours:
        raise Forbidden(
            "this came with the cookie of a signed-in browser, but not from a page of this service; programs send "
            'a key: "Authorization: Bearer <key>"'
        )
