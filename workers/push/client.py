"""
Calls the URL of a task once, and answers what came of it.

One `PushClient` for each worker process, on its event loop. A call never takes longer than its limit,
whatever the server does, and never holds more of an answer than a result may have.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from typing import Any

import httpx

from service.egress import Egress, EgressDenied, Rules
from service.errors import StoreFull, StoreUnavailable
from service.ids import encode_id
from service.outcome import Accepted
from service.received import clip
from service.redaction import Redaction, redaction_of
from service.request import Delivery, UnusableRequest, child_of, place_of, request_body, request_headers
from service.task import Leased
from service.telemetry import Tracer, method_of
from workers.capture import error_of
from workers.context import Context
from workers.outcome import Deferred, Failed, Outcome, TimeLimitExceeded, failed
from workers.push.answer import Answer, outcome_of
from workers.push.call import Call, Headers, of_httpx
from workers.push.certificates import Certificates
from workers.push.connections import Connections
from workers.push.credentials import Credentials, Used
from workers.push.details import Details, Seen
from workers.push.resolve import Resolver
from workers.push.signing import Signing
from workers.push.tokens import TokenRefused
from workers.push.transport import Transport

LOGGER = logging.getLogger(__name__)
MAX_ERROR_BODY_BYTES = 64 * 1024
STORE_SECONDS = 2.0


class PushClient:
    """Calls URLs. Make it on the event loop; `aclose` it at the end."""

    def __init__(
        self,
        *,
        max_result_bytes: int,
        egress: Egress | None = None,
        resolver: Resolver | None = None,
        context: ssl.SSLContext | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        signing: Signing | None = None,
        credentials: Credentials | None = None,
        redaction: Redaction | None = None,
        keeps_all: bool = False,
        tracer: Tracer | None = None,
    ) -> None:
        """
        Calls go to what *egress* lets through: only the public Internet unless it is given. *transport* replaces the
        network in tests, and without *signing* and *credentials* calls say not who they are by, in those that have no
        store. Without secrets by *redaction* more is kept of calls that fail or are retried; *keeps_all*: of all.
        """
        self.egress = egress or Egress()
        # httpx logs each URL with its query, where secrets stand.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self.max_result_bytes, self._tracer = max_result_bytes, tracer
        self._details = Details(redaction or redaction_of(""), keeps_all=keeps_all)
        self._signing, self._credentials, self._certificates = signing, credentials, Certificates()
        connections = Connections(resolver or Resolver(), context)
        self._transport = Transport(connections, max_result_bytes, MAX_ERROR_BODY_BYTES, transport)

    async def aclose(self) -> None:
        """Close all connections, and send what was traced."""
        await self._transport.aclose()
        if self._tracer is not None:
            await asyncio.to_thread(self._tracer.close)

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
        caller, used, seen = asyncio.current_task(), Used(), Seen()
        assert caller is not None  # noqa: S101 - whoever awaits has a task
        if ctx is not None:
            ctx.on_stop = partial(cancel, caller)
        try:
            outcome = await self._traced(task, options, deadline_ms, completion_url, used, seen, caller)
            if ctx is not None and seen.call is not None:
                ctx.trace = seen.call.trace
            self._details.note(task, used.hidden.outcome(outcome), seen, used.hidden)
            return outcome
        except asyncio.CancelledError:
            stopped = None if ctx is None else ctx.stop_requested
            if stopped is None or caller.uncancel() > 0:
                raise
            return stopped
        finally:
            if ctx is not None:
                ctx.on_stop = None

    async def _traced(self, task: Leased, *given: Any) -> Outcome | Accepted:
        """`_call`, with a span while traces are asked for."""
        if self._tracer is None:
            return await self._call(task, *given)
        seen: Seen = given[4]
        with self._tracer.call(method_of(task.submission), task.submission["url"], task.attempt) as span:
            seen.traceparent = span.traceparent
            outcome = await self._call(task, *given)
            if seen.answer is not None:
                span.answered(seen.answer.status)
            elif isinstance(outcome, Failed):
                span.failed(outcome.error["type"])
            return outcome

    async def _call(
        self,
        task: Leased,
        options: Mapping[str, Any],
        deadline_ms: int,
        completion_url: str | None,
        used: Used,
        seen: Seen,
        caller: asyncio.Task[Any],
    ) -> Outcome | Accepted:
        submission = task.submission
        place = place_of(submission["url"])
        limit_seconds = options["timeout_seconds"]
        try:
            rules = self.egress.rules(task.namespace)
            seen.call = call = call_of(task, options, deadline_ms, rules, completion_url, seen.traceparent)
            limit = Limit(caller, limit_seconds)
            try:
                seen.answer = answer = await self._proven(call, task.namespace, place, used)
            finally:
                limit.lift()
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

    async def _proven(self, call: Call, namespace: str, place: str, used: Used) -> Answer:
        """
        The answer to *call* with what proves who it is by: our signature, and the credentials of its endpoint. An
        access token that is refused is fetched again, once.
        """
        if self._signing is not None:
            await self._signing.sign(call, namespace)
        if self._credentials is None:
            return await self._answer(call, place)
        fetch = partial(self._fetch, call.rules)
        await self._credentials.apply(call, namespace, used, fetch)
        if used.certificate is not None:
            call.context = self._certificates.context(used.certificate)
        answer = await self._answer(call, place)
        if answer.status == 401 and await self._credentials.renewed(call, used, fetch):
            call.trace.begin_again()
            answer = await self._answer(call, place)
        return used.hidden.answer(answer)

    async def _fetch(self, rules: Rules, request: httpx.Request) -> tuple[int, bytes]:
        """Status and body of the answer to a request for an access token, under the *rules* of the call it is for."""
        received = await self._transport.send(of_httpx(request, rules))
        return received.status, received.body

    async def _answer(self, call: Call, place: str) -> Answer:
        """Send *call*, and read as much of the answer as may be kept."""
        received = await self._transport.send(call)
        return Answer(received.status, by_name(received.headers), received.body, received.is_whole, place)


def by_name(fields: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Header fields, whose names are in lower case, by these; with those of the same name in one (RFC 9110, 5.3)."""
    found: dict[str, str] = {}
    for raw_name, raw_value in fields:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def cancel(caller: asyncio.Task[Any]) -> None:
    """Break off what *caller* does."""
    caller.cancel()


class Limit:
    """
    A time limit on what *caller* does, which is cancelled when it has passed. As `asyncio.timeout`, at a third of its
    cost.
    """

    __slots__ = ("_caller", "_has_passed", "_timer")

    def __init__(self, caller: asyncio.Task[Any], seconds: float) -> None:
        self._caller, self._has_passed = caller, False
        self._timer = asyncio.get_running_loop().call_later(seconds, self._pass)

    def _pass(self) -> None:
        self._has_passed = True
        self._caller.cancel()

    def lift(self) -> None:
        """
        End the limit, in a `finally`.

        Raises:
            TimeoutError: it has passed, and nobody else has cancelled the caller.
        """
        self._timer.cancel()
        if self._has_passed and self._caller.uncancel() == 0:
            raise TimeoutError


def span_of(task: Leased) -> bytes:
    """The span of this attempt: the same however often its request is made."""
    return blake2b(task.id + task.token, digest_size=8).digest()


def call_of(
    task: Leased,
    options: Mapping[str, Any],
    deadline_ms: int,
    rules: Rules,
    completion_url: str | None = None,
    traceparent: str | None = None,
) -> Call:
    """
    The request of *task*'s attempt, under the *rules* of its namespace. *traceparent* is the span of the call, if it
    has one; else the submission's trace gets a span for it.

    Raises:
        UnusableRequest: the submission holds a URL or a header that cannot be sent.
        EgressDenied: its host may not be called.
    """
    submission = task.submission
    if traceparent is None and (origin := submission.get("traceparent")):
        traceparent = child_of(origin, span_of(task))
    delivery = Delivery(
        task_id=encode_id(task.id),
        name=submission.get("name"),
        attempt=task.attempt,
        most_attempts=options["retries"] + 1,
        sent_ms=time.time_ns() // 1_000_000,
        deadline_ms=deadline_ms,
        queue=task.queue,
        completion_url=completion_url,
        traceparent=traceparent,
    )
    try:
        return Call(
            submission.get("method", "POST"),
            submission["url"],
            Headers(request_headers(submission, delivery)),
            request_body(submission, delivery) or b"",
            rules.origin(submission["url"]),
            rules,
        )
    except UnusableRequest:
        raise
    except (TypeError, ValueError) as exc:
        raise UnusableRequest(f"this is not a request that can be made: {exc}") from exc
