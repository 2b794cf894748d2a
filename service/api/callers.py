"""
Who asks: in which namespace, with which key, and what that allows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from service.apikeys import ADMIN, ALL, ApiKey
from service.errors import Forbidden
from service.task import DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class Caller:
    """What is in *namespace* is there for them, and nothing else. *key* is None for who runs the service."""

    namespace: str
    name: str
    scopes: frozenset[str]
    key: ApiKey | None = None
    expires_ms: int | None = None  # when their read token or their session does, by Redis' clock
    is_session: bool = False  # the cookie of a session was brought instead of the key

    def require(self, scope: str) -> None:
        """Raises Forbidden without *scope*."""
        if scope not in self.scopes:
            raise Forbidden(
                f'the key "{self.name}" may not do this: it needs the scope {scope}', scope=scope
            )

    @property
    def is_operator(self) -> bool:
        """Whether this is who runs the service: may work for every namespace, and command what all of them share."""
        return self.namespace == DEFAULT_NAMESPACE and ADMIN in self.scopes

    @property
    def may_be_shut_out(self) -> bool:
        """Whether what they bring may open nothing any more while they follow a stream."""
        return self.key is not None or self.is_session

    def signed_in(self, expires_ms: int) -> Caller:
        """The same by a session, which ends then."""
        return replace(self, expires_ms=expires_ms, is_session=True)

    @property
    def id(self) -> str:
        """The id of the key; what stands for it where there is none."""
        return self.key.id if self.key else self.name


OPERATOR = Caller(DEFAULT_NAMESPACE, "operator", ALL)  # brings TASKPOST_API_KEY
CHALLENGE = {"WWW-Authenticate": "Bearer"}  # RFC 6750, with every 401
NOBODY = Caller(DEFAULT_NAMESPACE, "unknown", frozenset())  # tried to sign in with what is no key
ANYBODY = Caller(DEFAULT_NAMESPACE, "anybody", ALL)  # where no key is asked for
