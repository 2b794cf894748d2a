"""
The asynchronous client's methods for API keys, and for what was done with them: the same as `blocking_keys`, awaited.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import TypeVar

from service.client.calls import Steps
from service.client.keys import ApiKey, AuditEntry, NewApiKey, RateLimit, Role
from service.client.options import Seconds
from service.client.shell import Shell

T = TypeVar("T")


class AsyncKeyKeeper(Shell):
    """What `AsyncTaskpost` can do with API keys."""

    async def _run(self, steps: Steps[T]) -> T:
        """Do what *steps* ask for until they return."""
        raise NotImplementedError

    async def create_key(
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
        """As `Taskpost.create_key`."""
        given = {
            "role": role,
            "namespace": namespace,
            "expires_at": expires_at,
            "expires_in_seconds": expires_in_seconds,
            "rate_limit": rate_limit,
        }
        return await self._run(self._keys.create(name, scopes, given))

    async def api_key(self, id_: str) -> ApiKey:
        """As `Taskpost.api_key`."""
        return await self._run(self._keys.get(id_))

    async def api_keys(self) -> list[ApiKey]:
        """As `Taskpost.api_keys`."""
        return await self._run(self._keys.everything())

    async def revoke_key(self, id_: str) -> ApiKey:
        """As `Taskpost.revoke_key`."""
        return await self._run(self._keys.revoke(id_))

    async def audit(self, *, limit: int | None = None) -> AsyncIterator[AuditEntry]:
        """As `Taskpost.audit`, with `async for`."""
        listing = self._keys.audit(limit)
        while not listing.is_over:
            for one in await self._run(listing.more()):
                yield one
