"""
The synchronous client's methods for API keys, and for what was done with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from service.client.calls import Steps
from service.client.keys import ApiKey, AuditEntry, NewApiKey, RateLimit, Role
from service.client.options import Seconds
from service.client.shell import Shell

T = TypeVar("T")


class KeyKeeper(Shell):
    """What `Taskpost` can do with API keys."""

    def _run(self, steps: Steps[T]) -> T:
        """Do what *steps* ask for until they return."""
        raise NotImplementedError

    def create_key(
        self,
        name: str,
        scopes: Sequence[str] = (),
        *,
        role: Role | None = None,
        namespace: str | None = None,
        expires_at: datetime | str | None = None,
        expires_in_seconds: Seconds | None = None,
        rate_limit: RateLimit | None = None,
    ) -> NewApiKey:
        """Make an API key of a *role*, of *scopes*, or of both; its `key` is shown this once."""
        given = {
            "role": role,
            "namespace": namespace,
            "expires_at": expires_at,
            "expires_in_seconds": expires_in_seconds,
            "rate_limit": rate_limit,
        }
        return self._run(self._keys.create(name, scopes, given))

    def api_key(self, id_: str) -> ApiKey:
        """An API key, as it stands. Raises NotFound."""
        return self._run(self._keys.get(id_))

    def api_keys(self) -> list[ApiKey]:
        """The API keys of the namespace, the oldest first; those of all namespaces for who runs the service."""
        return self._run(self._keys.everything())

    def revoke_key(self, id_: str) -> ApiKey:
        """Have an API key open nothing any more. Raises NotFound."""
        return self._run(self._keys.revoke(id_))

    def audit(self, *, limit: int | None = None) -> Iterator[AuditEntry]:
        """What was changed with the namespace's keys, the newest first, at most *limit* (None: all that is kept)."""
        listing = self._keys.audit(limit)
        while not listing.is_over:
            yield from self._run(listing.more())
