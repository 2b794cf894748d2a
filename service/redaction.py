"""
What is not shown to who reads a task: header fields and query parameters that are secrets by their names.

Pure. What is stored and sent keeps its secrets; where a task, a schedule, an attempt or a callback's body shows them,
`[hidden]` stands in their place. The fact to know: a secret in a field called `X-Tenant` is shown, since nothing here
looks at values; `TASKPOST_REDACT_HEADERS` names more fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import translate
from functools import lru_cache
from urllib.parse import unquote

HIDDEN = "[hidden]"
FIELDS = (
    "authorization", "*-authorization", "proxy-*", "cookie", "set-cookie", "*signature*", "*token*", "*secret*",
    "*password*", "*credential*", "*session*", "*-auth", "x-auth-*", "*api-key*", "*apikey*", "*access-key*",
    "*private-key*", "taskpost-completion-url",
)  # fmt: skip
PARAMETER = re.compile(
    r"token|secret|passw|pwd|signature|credential|auth|session|jwt|api[-_]?key|(access|private|subscription)[-_]?key"
    r"|\A\W*(key|sig|code|pass|hmac|sas)\Z",
    re.IGNORECASE,
)
# A name ends at the next sign that may begin one, so that a text of nothing but such signs is read once, not once for
# each: what an endpoint answers is read by this too.
PAIR = re.compile(r"(?<=[?&;#])([^?&;#=]*)=([^&;#]+)")
LONGEST_KNOWN = 256  # names that are longer are no secret to anybody, and not worth remembering


class Redaction:
    """The names of secret header fields: those that always are, and *more*, by comma, with `*` for any characters."""

    def __init__(self, more: str = "") -> None:
        names = (*FIELDS, *(one.strip().lower() for one in more.split(",") if one.strip()))
        self._secret = re.compile("|".join(translate(name) for name in names))
        self._known = lru_cache(1024)(self._matches)  # since names repeat

    def hides(self, name: str) -> bool:
        """Whether the value of the header field *name* is a secret."""
        return self._known(name) if len(name) <= LONGEST_KNOWN else self._matches(name)

    def _matches(self, name: str) -> bool:
        return self._secret.match(name.lower()) is not None

    def headers(self, fields: Mapping[str, str]) -> dict[str, str]:
        """*fields* as they are shown."""
        return {name: HIDDEN if self.hides(name) else shown_url(value) for name, value in fields.items()}

    def secrets(self, fields: Mapping[str, str], url: str) -> Iterator[str]:
        """Every secret of a call: what must not stand in the text of its answer either."""
        for name, value in fields.items():
            if self.hides(name):
                yield value
                yield from parts_of(value)
        yield from (url[start:end] for start, end, _ in secrets_in(url))


def parts_of(value: str) -> Iterator[str]:
    """The secrets within a secret value: what stands behind `Bearer`, or behind `name=` in a cookie."""
    first, *more = re.split(r"[;,\s]+", value.strip())
    for part in more if more and first.isalpha() else (first, *more):
        _, _, named = part.partition("=")
        yield named.strip('"') if named.strip("=") else part


@lru_cache(16)
def redaction_of(more: str) -> Redaction:
    """The one of a setting."""
    return Redaction(more)


def shown_url(url: str) -> str:
    """*url* as it is shown: without the values of query parameters that are secrets by their names."""
    if "=" not in url or ("://" not in url[:12] and not url.startswith("/")):
        return url
    return without_secrets(url)


def without_secrets(url: str) -> str:
    shown, rest = "", 0
    for start, end, _ in secrets_in(url):
        shown, rest = f"{shown}{url[rest:start]}{HIDDEN}", end
    return shown + url[rest:]


def without_password(url: str) -> str:
    """*url*, such as Redis', as it may be shown: also without the password before its host."""
    before, at, after = without_secrets(url).rpartition("@")
    scheme, _, user = before.partition("://")
    return f"{scheme}://{user.partition(':')[0]}:***@{after}" if at else after


def secrets_in(url: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, name of the parameter) of every secret in *url*."""
    for found in PAIR.finditer(url):
        name = unquote(found[1])
        if PARAMETER.search(name):
            yield found.start(2), found.end(2), name
