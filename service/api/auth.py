"""
Who may ask: the bearer key (RFC 6750) or the cookie that stands for one, its scope and its rate, and the size of a
request's headers.

The fact to know: a key that was looked up is taken for two seconds, so that it costs the hot path a hash and ends
everywhere within five once it is revoked. Secrets are compared in constant time, and never kept.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from functools import cache, partial
from hmac import compare_digest
from typing import Any, NamedTuple, Protocol

from service.api.callers import ANYBODY, CHALLENGE, NOBODY, OPERATOR, Caller
from service.api.cookies import check_page, session_in
from service.api.rates import Rates
from service.api.refusals import Refusals
from service.apikeys import ADMIN, ApiKey, digest_of, id_in, included
from service.contract import contract
from service.errors import HeadersTooLarge, Problem, StoreFull, StoreUnavailable, Unauthorized
from service.settings import Settings
from service.store import Store
from service.store.sessions import proof_of
from service.task import rfc3339

FRESH_SECONDS = 2.0
NOTE_SECONDS = 60.0  # last uses are told so often
MOST_KNOWN = 10_000
ENDED = "you are not signed in, or no longer; POST /v1/session signs in"
Raw = Iterable[tuple[bytes, bytes]]


class Process(Protocol):
    """What the gate needs of the API process."""

    settings: Settings
    store: Store

    def require_store(self) -> Store: ...

    async def within(self, asking: Any) -> Any: ...


@cache
def scope_of(path: str, method: str) -> str | None:
    """The scope that an operation of the contract names; "" where any key will do, None where none is needed."""
    operation = contract()["paths"][path][method.lower()]
    named: list[dict[str, list[str]]] = operation.get("security", [{"bearer": [ADMIN]}])
    return None if named == [] else "".join(named[-1]["bearer"])


class Looked(NamedTuple):
    """What was found under a key or a session, and when; no caller for nothing."""

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
        self.known: dict[bytes, Looked] = {}  # by `mark` of a key or a session
        self.looking: dict[bytes, asyncio.Task[Looked]] = {}
        self.used: dict[str, float] = {}  # by id of a key: when its use was last told
        self.background: set[asyncio.Task[None]] = set()
        self.rates = Rates(process)
        self.refusals = Refusals()

    async def admit(self, raw: Raw, headers: Mapping[bytes, bytes], scope: str | None) -> Caller:
        """
        Who asks, who may. *raw* are the request's headers as ASGI gives them, *headers* the same by name; *scope* is
        what the operation asks for, None for no key at all.

        Raises:
            HeadersTooLarge: over the bound altogether.
            Unauthorized: no key, or one that opens nothing.
            Forbidden: the key does not have that scope, or its cookie came with what another page asks.
            TooManyRequests: it has used up its rate.
            StoreUnavailable: it cannot be looked up.
        """
        self.check_size(raw)
        if scope is None:
            return ANYBODY
        caller = await self.caller(headers)
        if caller.is_session:
            check_page(headers, changes=scope.endswith(":write"))
        if scope and scope not in caller.scopes:
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
        if caller.may_be_shut_out:
            caller = await self.caller(headers)
            if caller.key is not None and caller.key.rate_limit is not None:
                await self.rates.take(caller.key)

    async def until_shut(self, caller: Caller, headers: Mapping[bytes, bytes]) -> None:
        """Return once the key of *caller*, who follows a stream, opens nothing any more; never for who brought none."""
        while True:
            await asyncio.sleep(FRESH_SECONDS)
            try:
                if caller.may_be_shut_out:
                    await self.caller(headers)
            except Unauthorized:
                return
            except Problem:
                continue  # Redis is away: what was known stands

    async def caller(self, headers: Mapping[bytes, bytes]) -> Caller:
        """Who brings *headers*: a key, or the cookie of a session. Raises Unauthorized."""
        if not self.must_ask and not await self.has_keys():
            return ANYBODY
        given = headers.get(b"authorization", b"")
        if not given and b"cookie" in headers and (session := session_in(headers)):
            return await self.found(mark(b"session", session), partial(self.read_session, session))
        scheme, _, token = given.partition(b" ")
        token = token.strip()
        if not token or scheme.lower() != b"bearer":
            raise Unauthorized('no API key was given; send it as "Authorization: Bearer <key>"', headers=CHALLENGE)
        return await self.holder(token)

    async def holder(self, token: bytes) -> Caller:
        """Whose key *token* is. Raises Unauthorized."""
        if self.key and compare_digest(token, self.key):
            return OPERATOR
        return await self.found(mark(b"", token), partial(self.read_key, token))

    async def named_by(self, token: bytes) -> Caller:
        """Whom *token* names though it opens nothing, so far as there is such a key; who may do nothing."""
        id_ = id_in(token)
        with suppress(StoreUnavailable):
            key = await self.process.within(self.process.require_store().api_keys.read(id_)) if id_ else None
            if key is not None:
                return Caller(key.namespace, key.name, frozenset(), key)
        return NOBODY

    async def found(self, digest: bytes, read: Callable[[], Awaitable[Looked]]) -> Caller:
        """Who is known by *digest*; *read* looks who that is. Raises Unauthorized."""
        now = asyncio.get_running_loop().time()
        looked = self.known.get(digest)
        if looked is None or now - looked.at > FRESH_SECONDS:
            looked = await self.look_up(digest, read)
        caller = looked.caller
        if caller is None:
            raise Unauthorized(looked.why, headers=CHALLENGE)
        key = caller.key
        if key is not None and key.expires_ms is not None and key.expires_ms <= self.now_ms():
            raise Unauthorized("this API key has expired", headers=CHALLENGE)
        if caller.expires_ms is not None and caller.expires_ms <= self.now_ms():
            raise Unauthorized(ENDED, headers=CHALLENGE)
        if key is not None and now - self.used.get(key.id, float("-inf")) > NOTE_SECONDS:
            self.used[key.id] = now
            self.start(self.note_use(key.id))
        return caller

    def now_ms(self) -> int:
        return self.process.store.tasks.clock.now_ms()

    async def look_up(self, digest: bytes, read: Callable[[], Awaitable[Looked]]) -> Looked:
        """What *read* finds now; who asks at once shares one look. Raises StoreUnavailable."""
        looking = self.looking.get(digest)
        if looking is None:
            looking = self.looking[digest] = asyncio.create_task(self.remember(digest, read))
            looking.add_done_callback(lambda _: self.looking.pop(digest, None))
        found: Looked = await self.process.within(asyncio.shield(looking))
        return found

    async def remember(self, digest: bytes, read: Callable[[], Awaitable[Looked]]) -> Looked:
        looked = await read()
        if len(self.known) >= MOST_KNOWN:
            self.known.clear()
        self.known[digest] = looked
        return looked

    def forget(self, session: bytes) -> None:
        """It has ended: here it opens nothing from this moment on."""
        self.known.pop(mark(b"session", session), None)

    async def read_key(self, token: bytes) -> Looked:
        id_ = id_in(token)
        key = await self.process.require_store().api_keys.read(id_) if id_ else None
        return judged(id_, key, digest_of(token), asyncio.get_running_loop().time())

    async def read_session(self, token: bytes) -> Looked:
        """Whose session *token* is: that of the key for which it stands, while it is the same key."""
        store, at = self.process.require_store(), asyncio.get_running_loop().time()
        session = await store.sessions.read(token)
        if session is None:
            return Looked(None, at, ENDED)
        if session.key_id == OPERATOR.id:
            digest, looked = digest_of(self.key), Looked(OPERATOR if self.key else None, at, ENDED)
        else:
            key = await store.api_keys.read(session.key_id)
            digest = key.digest if key else ""
            looked = judged(session.key_id, key, digest, at)
        if looked.caller is None:
            return looked
        if not compare_digest(session.proof, proof_of(token, digest)):
            return Looked(None, at, ENDED)
        return looked._replace(caller=looked.caller.signed_in(session.expires_ms))

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


def mark(kind: bytes, secret: bytes) -> bytes:
    """By what a key, or a session, is known here: it does not tell the secret, and one is never taken for the other."""
    return hashlib.sha256(kind + b" " + secret).digest()


def judged(id_: str | None, key: ApiKey | None, digest: str, at: float) -> Looked:
    """What a token is worth: that of *id_*, under which *key* was found."""
    if id_ is None:
        return Looked(None, at, "this is no API key of this service, or not the whole of it")
    if key is None or not compare_digest(key.digest, digest):
        return Looked(None, at, "there is no such API key, or no longer")
    if key.revoked_ms is not None:
        return Looked(None, at, f"this API key was revoked at {rfc3339(key.revoked_ms)}")
    return Looked(Caller(key.namespace, key.name, included(key.scopes), key), at, "")
