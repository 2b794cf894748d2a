"""
Endpoints: who is called, as a name that fits into a path: `https:api.example.com`, `http:10.0.0.5:8080`, `http:[::1]`.

Pure. The fact to know: an endpoint has one name, in lower case and without the port that its scheme means anyway.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import urlsplit

NAME = re.compile(r"(https?):(\[[0-9a-f:.]+\]|[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?)(?::([1-9][0-9]{0,4}))?")
PORTS = {"http": "80", "https": "443"}
NEEDS = "needs a scheme, a host and, unless it is the usual one, a port: https:api.example.com, http:10.0.0.5:8080"


def endpoint_of(url: str) -> str:
    """The name of the endpoint that *url* calls. Raises ValueError when it can call none."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = "" if parts.port is None else f":{parts.port}"
    return named(f"{parts.scheme}:{f'[{host}]' if ':' in host else host}{port}")


@lru_cache(4096)
def endpoint_called_by(place: str) -> str:
    """`endpoint_of` for those who ask often; *place* is a URL without its query. Raises ValueError."""
    return endpoint_of(place)


def named(text: str) -> str:
    """*text*, an endpoint's name, in its one way of writing. Raises ValueError, which says what it needs."""
    found = NAME.fullmatch(text.lower().removesuffix("."))
    if found is None or int(found[3] or 1) > 65535:
        raise ValueError(f"there is no endpoint {text[:200]!r}: {NEEDS}")
    scheme, host, port = found.groups()
    port = "" if port in (None, PORTS[scheme]) else f":{port}"
    return f"{scheme}:{host.removesuffix('.')}{port}"
