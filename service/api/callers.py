"""
Who asks: in which namespace, with which key, and what that allows.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    expires_ms: int | None = None  # when their read token does, by Redis' clock

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
    def id(self) -> str:
        """The id of the key; what stands for it where there is none."""
        return self.key.id if self.key else self.name


OPERATOR = Caller(DEFAULT_NAMESPACE, "operator", ALL)  # brings TASKPOST_API_KEY
ANYBODY = Caller(DEFAULT_NAMESPACE, "anybody", ALL)  # where no key is asked for
