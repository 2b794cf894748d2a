"""
Calls the URL of a task once, and answers what came of it.

One `PushClient` for each worker process, on its event loop. A call never takes longer than its limit,
whatever the server does, and never holds more of an answer than a result may have.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from service.egress import Egress, EgressDenied, Rules
from service.errors import StoreFull, StoreUnavailable
from service.outcome import Accepted
from service.received import clip
from service.task import Leased, encode_id
from workers.capture import error_of
from workers.context import Context
from workers.outcome import Deferred, Failed, Outcome, TimeLimitExceeded, failed
from workers.push.answer import Answer, outcome_of
from workers.push.certificates import CertificatePools
from workers.push.credentials import Credentials, Used
from workers.push.request import Delivery, UnusableRequest, child_of, place_of, request_body, request_headers
from workers.push.resolve import Resolver
from workers.push.signing import Signing
from workers.push.tokens import TokenRefused
from workers.push.transport import RULES, AiohttpTransport

LOGGER = logging.getLogger(__name__)
MAX_ERROR_BODY_BYTES = 64 * 1024
STORE_SECONDS = 2.0


class PushClient:
    """Calls URLs. Make it on the event loop; `aclose` it at the end."""

    def __init__(
        self,
        *,
        max_result_bytes: int,
        concurrency: int = 100,
        egress: Egress | None = None,
        resolver: Resolver | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        signing: Signing | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        """
        At most *concurrency* calls have a connection at once, 0 for any number, to what *egress* lets through: only the
        public Internet unless it is given. *transport* replaces the network in tests, and without *signing* and
        *credentials* calls say not who they are by, in those that have no store.
        """
        self.egress = egress or Egress()
        # httpx logs each URL with its query, where secrets stand.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self.max_result_bytes = max_result_bytes
        self._signing, self._credentials = signing, credentials
        made = partial(
            AiohttpTransport, egress=self.egress, resolver=resolver or Resolver(), most_connections=concurrency
        )
        self._client = client_over(transport or made())
        self._certificates = CertificatePools(lambda context: client_over(made(verify=context)))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()
        await self._certificates.aclose()

    async def call(
        self,
        task: Leased,
        options: Mapping[str, Any],
        deadline_ms: int,
        ctx: Context | None = None,
        completion_url: str | None = None,
    ) -> Outcome | Accepted:
        """
        Call the URL of *task* with the limits of *options*. `ctx.stop` breaks the call off. At *completion_url* the
        endpoint may end the attempt later.

        Raises:
            asyncio.CancelledError: the caller itself was cancelled.
        """
        if ctx is not None and ctx.stop_requested is not None:
            return ctx.stop_requested
        caller, used = asyncio.current_task(), Used()
        if ctx is not None and caller is not None:
            ctx.on_stop = partial(cancel, caller)
        try:
            return used.hidden.outcome(await self._call(task, options, deadline_ms, completion_url, used))
        except asyncio.CancelledError:
            stopped = None if ctx is None else ctx.stop_requested
            if stopped is None or caller is None or caller.uncancel() > 0:
                raise
            return stopped
        finally:
            if ctx is not None:
                ctx.on_stop = None

    async def _call(
        self, task: Leased, options: Mapping[str, Any], deadline_ms: int, completion_url: str | None, used: Used
    ) -> Outcome | Accepted:
        submission = task.submission
        place = place_of(submission["url"])
        limit_seconds = options["timeout_seconds"]
        try:
            rules = self.egress.rules(task.namespace)
            request = request_of(task, options, deadline_ms, rules, completion_url)
            async with asyncio.timeout(limit_seconds):
                answer = await self._proven(request, task.namespace, place, used)
        except TimeoutError:
            message = f"{place} gave no complete answer within the time limit of {limit_seconds:g} s"
            return failed(TimeLimitExceeded.__name__, message, retry=True)
        except httpx.HTTPError as exc:
            can_recover = not isinstance(exc, httpx.UnsupportedProtocol)
            return failed(type(exc).__name__, clip(f"{place}: {exc}", 1000), retry=can_recover)
        except (StoreUnavailable, StoreFull) as exc:  # no fault of the task's
            return Deferred(STORE_SECONDS, f"{exc}")
        except TokenRefused as exc:
            return failed("TokenRefused", f"{exc}", retry=True)
        except EgressDenied as exc:
            return failed("EgressDenied", clip(f"{place} may not be called ({exc.reason}): {exc}", 1000), retry=False)
        except UnusableRequest as exc:
            return failed("UnusableRequest", clip(f"{place}: {exc}", 1000), retry=False)
        except Exception as exc:  # a fault of ours must not cost the worker
            LOGGER.exception("%s: calling %s failed", encode_id(task.id), place)
            return Failed(error_of(exc))
        is_patient = bool(submission.get("retry_4xx"))
        return outcome_of(answer, self.max_result_bytes, datetime.now(UTC), retry_4xx=is_patient)

    async def _proven(self, request: httpx.Request, namespace: str, place: str, used: Used) -> Answer:
        """
        The answer to *request* with what proves who it is by: our signature, and the credentials of its endpoint. An
        access token that is refused is fetched again, once.
        """
        if self._signing is not None:
            await self._signing.sign(request, namespace)
        if self._credentials is None:
            return await self._answer(self._client, request, place)
        fetch = partial(self._fetch, request.extensions)
        await self._credentials.apply(request, namespace, used, fetch)
        answer = await self._shown(request, place, used)
        if answer.status == 401 and await self._credentials.renewed(request, used, fetch):
            answer = await self._shown(request, place, used)
        return used.hidden.answer(answer)

    async def _shown(self, request: httpx.Request, place: str, used: Used) -> Answer:
        """The answer to *request*, over a connection that shows our certificate where one is *used*."""
        if used.certificate is None:
            return await self._answer(self._client, request, place)
        async with self._certificates.client(used.certificate) as client:
            return await self._answer(client, request, place)

    async def _fetch(self, extensions: dict[str, Any], request: httpx.Request) -> tuple[int, bytes]:
        """Status and body of the answer to a request for an access token, under the rules of the call it is for."""
        request.extensions |= extensions
        answer = await self._answer(self._client, request, place_of(str(request.url)))
        return answer.status, answer.body

    async def _answer(self, client: httpx.AsyncClient, request: httpx.Request, place: str) -> Answer:
        """
        Send *request*, and read as much of the answer as may be kept. The connection is closed if more
        would come.
        """
        response = await client.send(request, stream=True)
        try:
            most_bytes = self.max_result_bytes if response.is_success else MAX_ERROR_BODY_BYTES
            body, is_whole = await read_raw(response, most_bytes)
        finally:
            await response.aclose()
        return Answer(response.status_code, response.headers, body, is_whole, place)


def client_over(transport: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
    """A client that follows nothing, keeps nothing, and reads nothing from the environment."""
    return httpx.AsyncClient(
        transport=transport,
        trust_env=False,
        follow_redirects=False,
        timeout=None,  # noqa: S113 - `call` limits the whole
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    )


def cancel(caller: asyncio.Task[Any]) -> None:
    """Break off what *caller* does."""
    caller.cancel()


async def read_raw(response: httpx.Response, most_bytes: int) -> tuple[bytes, bool]:
    """(up to *most_bytes* of the body as it came, whether that is all of it)."""
    chunks = []
    left = most_bytes
    stream = response.stream  # below httpx's own decoding, which knows no bound
    assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - an async client has no other
    async for chunk in stream:
        chunks.append(chunk[:left])
        left -= len(chunk)
        if left < 0:
            return b"".join(chunks), False
    return b"".join(chunks), True


def span_of(task: Leased) -> bytes:
    """The span of this attempt: the same however often its request is made."""
    return blake2b(task.id + task.token, digest_size=8).digest()


def request_of(
    task: Leased, options: Mapping[str, Any], deadline_ms: int, rules: Rules, completion_url: str | None = None
) -> httpx.Request:
    """
    The request of *task*'s attempt, under the *rules* of its namespace.

    Raises:
        UnusableRequest: the submission holds a URL or a header that cannot be sent.
        EgressDenied: its host may not be called.
    """
    submission = task.submission
    delivery = Delivery(
        task_id=encode_id(task.id),
        name=submission.get("name"),
        attempt=task.attempt,
        most_attempts=options["retries"] + 1,
        sent_ms=time.time_ns() // 1_000_000,
        deadline_ms=deadline_ms,
        queue=task.queue,
        completion_url=completion_url,
        traceparent=child_of(traceparent, span_of(task)) if (traceparent := submission.get("traceparent")) else None,
    )
    try:
        rules.origin(submission["url"])
        return httpx.Request(
            submission.get("method", "POST"),
            submission["url"],
            headers=request_headers(submission, delivery),
            content=request_body(submission, delivery),
            extensions={RULES: rules},
        )
    except (httpx.InvalidURL, TypeError, ValueError) as exc:
        raise UnusableRequest(f"this is not a request that can be made: {exc}") from exc
