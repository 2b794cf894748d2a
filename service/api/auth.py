"""
Who may ask: the bearer key (RFC 6750), its scope and its rate, and the size of a request's headers.

The fact to know: a key that was looked up is taken for two seconds, so that it costs the hot path a hash and ends
everywhere within five once it is revoked. Secrets are compared in constant time, and never kept.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import suppress
from functools import cache
from hmac import compare_digest
from typing import Any, NamedTuple, Protocol

from service.api.callers import ANYBODY, OPERATOR, Caller
from service.api.rates import Rates
from service.apikeys import ADMIN, ApiKey, id_in, included
from service.contract import contract
from service.errors import HeadersTooLarge, Problem, StoreFull, StoreUnavailable, Unauthorized
from service.settings import Settings
from service.store import Store
from service.task import rfc3339

CHALLENGE = {"WWW-Authenticate": "Bearer"}
FRESH_SECONDS = 2.0
NOTE_SECONDS = 60.0  # last uses are told so often
MOST_KNOWN = 10_000
Raw = Iterable[tuple[bytes, bytes]]


class Process(Protocol):
    """What the gate needs of the API process."""

    settings: Settings
    store: Store

    def require_store(self) -> Store: ...

    async def within(self, asking: Any) -> Any: ...


@cache
def scope_of(path: str, method: str) -> str | None:
    """The scope that an operation of the contract names; None for one that asks for no key."""
    operation = contract()["paths"][path][method.lower()]
    named: list[dict[str, list[str]]] = operation.get("security", [{"bearer": [ADMIN]}])
    scopes = [scope for one in named for scope in one.get("bearer", ())]
    return None if named == [] else (scopes or [ADMIN])[0]


class Looked(NamedTuple):
    """What was found under a token, and when; no caller for nothing."""

    caller: Caller | None
    at: float
    why: str


class Gate:
    """Lets requests in. One for each API process."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.key = process.settings.api_key.encode()
        self.most_bytes = process.settings.max_headers_bytes
        self.must_ask = bool(self.key) or process.settings.require_keys
        self.asked_at: float | None = None  # when we last looked whether there are keys
        self.known: dict[bytes, Looked] = {}  # by SHA-256 of the token
        self.looking: dict[bytes, asyncio.Task[Looked]] = {}
        self.used: dict[str, float] = {}  # by id of a key: when its use was last told
        self.background: set[asyncio.Task[None]] = set()
        self.rates = Rates(process)

    async def admit(self, raw: Raw, headers: Mapping[bytes, bytes], scope: str | None) -> Caller:
        """
        Who asks, who may. *raw* are the request's headers as ASGI gives them, *headers* the same by name; *scope* is
        what the operation asks for, None for no key at all.

        Raises:
            HeadersTooLarge: over the bound altogether.
            Unauthorized: no key, or one that opens nothing.
            Forbidden: the key does not have that scope.
            TooManyRequests: it has used up its rate.
            StoreUnavailable: it cannot be looked up.
        """
        self.check_size(raw)
        if scope is None:
            return ANYBODY
        caller = await self.caller(headers.get(b"authorization", b""))
        if scope not in caller.scopes:
            caller.require(scope)
        if caller.key is not None and caller.key.rate_limit is not None:
            await self.rates.take(caller.key)
        return caller

    def check_size(self, raw: Raw) -> None:
        """Raises HeadersTooLarge."""
        size = 0
        for name, value in raw:
            size += len(name) + len(value) + 4
        if size > self.most_bytes:
            raise HeadersTooLarge(f"the headers have {size} bytes; at most {self.most_bytes} are read")

    async def again(self, caller: Caller, headers: Mapping[bytes, bytes]) -> None:
        """Of a request that goes on, such as a stream: its key still opens, and has a unit left. Raises as `admit`."""
        if caller.key is not None:
            caller = await self.caller(headers[b"authorization"])
            if caller.key is not None and caller.key.rate_limit is not None:
                await self.rates.take(caller.key)

    async def until_shut(self, caller: Caller, headers: Mapping[bytes, bytes]) -> None:
        """Return once the key of *caller*, who follows a stream, opens nothing any more; never for who brought none."""
        while True:
            await asyncio.sleep(FRESH_SECONDS)
            try:
                if caller.key is not None:
                    await self.caller(headers[b"authorization"])
            except Unauthorized:
                return
            except Problem:
                continue  # Redis is away: what was known stands

    async def caller(self, given: bytes) -> Caller:
        """Who brings the Authorization header *given*. Raises Unauthorized."""
        if not self.must_ask and not await self.has_keys():
            return ANYBODY
        scheme, _, token = given.partition(b" ")
        token = token.strip()
        if not token or scheme.lower() != b"bearer":
            raise Unauthorized('no API key was given; send it as "Authorization: Bearer <key>"', headers=CHALLENGE)
        if self.key and compare_digest(token, self.key):
            return OPERATOR
        return await self.holder(token)

    async def holder(self, token: bytes) -> Caller:
        """Whose key *token* is. Raises Unauthorized."""
        digest = hashlib.sha256(token).digest()
        now = asyncio.get_running_loop().time()
        looked = self.known.get(digest)
        if looked is None or now - looked.at > FRESH_SECONDS:
            looked = await self.look_up(token, digest)
        caller = looked.caller
        if caller is None or caller.key is None:
            raise Unauthorized(looked.why, headers=CHALLENGE)
        if caller.key.expires_ms is not None and caller.key.expires_ms <= self.process.store.tasks.clock.now_ms():
            raise Unauthorized("this API key has expired", headers=CHALLENGE)
        if now - self.used.get(caller.key.id, float("-inf")) > NOTE_SECONDS:
            self.used[caller.key.id] = now
            self.start(self.note_use(caller.key.id))
        return caller

    async def look_up(self, token: bytes, digest: bytes) -> Looked:
        """What is known of *token* now; who asks at once shares one look. Raises StoreUnavailable."""
        looking = self.looking.get(digest)
        if looking is None:
            looking = self.looking[digest] = asyncio.create_task(self.read(token, digest))
            looking.add_done_callback(lambda _: self.looking.pop(digest, None))
        found: Looked = await self.process.within(asyncio.shield(looking))
        return found

    async def read(self, token: bytes, digest: bytes) -> Looked:
        id_ = id_in(token)
        key = await self.process.require_store().api_keys.read(id_) if id_ else None
        if len(self.known) >= MOST_KNOWN:
            self.known.clear()
        at = asyncio.get_running_loop().time()
        looked = self.known[digest] = judged(id_, key, digest.hex(), at)
        return looked

    async def has_keys(self) -> bool:
        """Whether there are keys, or ever were; then every request needs one. Raises StoreUnavailable."""
        now = asyncio.get_running_loop().time()
        if self.asked_at is None:
            await self.process.within(self.ask())
        elif now - self.asked_at > FRESH_SECONDS:
            self.asked_at = now
            self.start(self.ask())
        return self.must_ask

    async def ask(self) -> None:
        if await self.process.require_store().api_keys.exist():
            self.must_ask = True
        self.asked_at = asyncio.get_running_loop().time()

    async def note_use(self, id_: str) -> None:
        store = self.process.require_store()
        await store.api_keys.note_uses({id_: store.tasks.clock.now_ms()})

    def start(self, duty: Coroutine[Any, Any, None]) -> None:
        """Do *duty* in the background; when Redis is away it is left undone."""

        async def doing() -> None:
            with suppress(StoreUnavailable, StoreFull):
                await duty

        task = asyncio.create_task(doing())
        self.background.add(task)
        task.add_done_callback(self.background.discard)


def judged(id_: str | None, key: ApiKey | None, digest: str, at: float) -> Looked:
    """What a token is worth: that of *id_*, under which *key* was found."""
    if id_ is None:
        return Looked(None, at, "this is no API key of this service, or not the whole of it")
    if key is None or not compare_digest(key.digest, digest):
        return Looked(None, at, "there is no such API key, or no longer")
    if key.revoked_ms is not None:
        return Looked(None, at, f"this API key was revoked at {rfc3339(key.revoked_ms)}")
    return Looked(Caller(key.namespace, key.name, included(key.scopes), key), at, "")
