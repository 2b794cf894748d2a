"""
API keys: how they look, what they may do, and what is kept of them. Pure.

A key is `tp_`, an id of 10 letters and digits that may be seen, 30 that are secret, and 6 of a checksum, by which one
that was cut or mistyped is told from one that was revoked. Kept is its SHA-256: nobody can read a key out of Redis.
The fact to know: a role is a scope that includes others, so there is one list to grant and one to check.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from service.task import rfc3339

LETTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_LETTERS, SECRET_LETTERS, CHECK_LETTERS = 10, 30, 6
TOKEN = re.compile(rb"tp_[0-9A-Za-z]{46}")
NAMESPACE = r"[a-z0-9][a-z0-9_.-]{0,30}"

ADMIN = "admin"
READS = frozenset(("tasks:read", "schedules:read", "queues:read", "endpoints:read", "workers:read"))
WRITES = frozenset(("tasks:write", "schedules:write", "queues:write", "endpoints:write", "workers:write"))
GUARDED = frozenset(("secrets:read", "secrets:write", "keys:read", "keys:write", "audit:read"))
ALL = READS | WRITES | GUARDED | {ADMIN}
ROLES: dict[str, frozenset[str]] = {"reader": READS, "operator": READS | WRITES | {"audit:read"}, ADMIN: ALL}


def new_token() -> str:
    """A fresh key; 178 bits of it are secret."""
    text = "tp_" + "".join(secrets.choice(LETTERS) for _ in range(ID_LETTERS + SECRET_LETTERS))
    return text + checksum(text)


def checksum(text: str) -> str:
    """CRC-32 in base 62."""
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(CHECK_LETTERS):
        number, digit = divmod(number, len(LETTERS))
        digits = LETTERS[digit] + digits
    return digits


def id_in(token: bytes) -> str | None:
    """The id of the key that *token* may be; None for what cannot be one."""
    if not TOKEN.fullmatch(token):
        return None
    text = token.decode()
    return text[3 : 3 + ID_LETTERS] if checksum(text[:-CHECK_LETTERS]) == text[-CHECK_LETTERS:] else None


def digest_of(token: bytes) -> str:
    return hashlib.sha256(token).hexdigest()


def included(scopes: Iterable[str]) -> frozenset[str]:
    """All that *scopes* allow: roles and `…:*` stand for others."""
    found: set[str] = set()
    for scope in scopes:
        area, _, what = scope.partition(":")
        if scope in ROLES:
            found |= ROLES[scope]
        elif what == "*":
            found |= {one for one in ALL if one.startswith(f"{area}:")}
        else:
            found.add(scope)
    return frozenset(found & ALL)


def role_of(scopes: frozenset[str]) -> str | None:
    """The role that *scopes*, all that are included, are; None for none."""
    return next((role for role, included_ in ROLES.items() if included_ == scopes), None)


def granted(given: dict[str, Any]) -> tuple[str, ...]:
    """The scopes that the contract's `ApiKeyRequest` *given* asks for, its role first."""
    role = [given["role"]] if "role" in given else []
    return tuple(dict.fromkeys([*role, *given.get("scopes", ())]))


def grantable() -> list[str]:
    """Every word that a key's scopes may have, as the contract lists them."""
    areas = sorted({one.partition(":")[0] for one in ALL - {ADMIN}} - {"audit"})
    return sorted([*ROLES, *(ALL - {ADMIN}), *(f"{area}:*" for area in areas)])


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """
    What is kept of a key. *digest* is the SHA-256 of all of it; times are ms since the epoch, None for never.

    *rate_limit* is `{"requests": so many, "window_seconds": in so long}`, None for no bound.
    """

    id: str
    digest: str = field(repr=False)
    name: str
    namespace: str
    scopes: tuple[str, ...]
    created_ms: int
    created_by: str = ""
    expires_ms: int | None = None
    revoked_ms: int | None = None
    rate_limit: dict[str, float] | None = None

    @classmethod
    def of(cls, id_: str, document: dict[str, Any]) -> ApiKey:
        """The key of a *document* that `document` made."""
        return cls(id=id_, **{**document, "scopes": tuple(document["scopes"])})

    def document(self) -> dict[str, Any]:
        """As it is stored, under its id."""
        kept = {name: getattr(self, name) for name in self.__slots__ if name != "id"}
        return {name: value for name, value in {**kept, "scopes": list(self.scopes)}.items() if value is not None}

    def state(self, now_ms: int) -> str:
        if self.revoked_ms is not None:
            return "revoked"
        return "expired" if self.expires_ms is not None and self.expires_ms <= now_ms else "active"

    def shown(self, now_ms: int, used_ms: int | None) -> dict[str, Any]:
        """The contract's `ApiKey`."""
        limit = {} if self.rate_limit is None else {"rate_limit": self.rate_limit}
        return {
            "id": self.id,
            "name": self.name,
            "namespace": self.namespace,
            "role": role_of(included(self.scopes)),
            "scopes": list(self.scopes),
            "state": self.state(now_ms),
            **limit,
            "created_at": rfc3339(self.created_ms),
            "created_by": self.created_by or None,
            "expires_at": at(self.expires_ms),
            "revoked_at": at(self.revoked_ms),
            "last_used_at": at(used_ms),
        }


def made(
    given: dict[str, Any], namespace: str, created_by: str, expires_ms: int | None, now_ms: int
) -> tuple[str, ApiKey]:
    """A fresh key as the contract's `ApiKeyRequest` *given* says, and what is kept of it."""
    token, limit = new_token(), given.get("rate_limit")
    key = ApiKey(
        id=id_in(token.encode()) or "",
        digest=digest_of(token.encode()),
        name=given["name"],
        namespace=namespace,
        scopes=granted(given),
        created_ms=now_ms,
        created_by=created_by,
        expires_ms=expires_ms,
        rate_limit=limit and {"requests": int(limit["requests"]), "window_seconds": limit["window_seconds"]},
    )
    return token, key


def at(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)
