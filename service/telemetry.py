"""
Traces by OpenTelemetry: a span for each submission, attempt and call, in one trace.

The only place that knows OpenTelemetry, which is an extra (`taskpost[telemetry]`); without TASKPOST_TELEMETRY nothing
of it is imported. Names and attributes are those of the semantic conventions for messaging and HTTP. The fact to
know: where spans go, and which, is said by OpenTelemetry's own OTEL_* variables; a provider that the application has
set is used as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from service.errors import InvalidSetting, Problem
from service.ids import encode_id
from service.settings import Settings
from service.task import Leased

log = logging.getLogger("taskpost.telemetry")

MISSING = "needs packages that are not installed: pip install 'taskpost[telemetry]'"


def tracer_of(settings: Settings, part: str) -> Tracer | None:
    """
    What traces this process, the *part* of Taskpost; None when nobody asked for traces.

    Raises:
        InvalidSetting: OpenTelemetry is not installed.
    """
    if not settings.telemetry:
        return None
    try:
        return Tracer(settings.telemetry, part)
    except ImportError as exc:
        raise InvalidSetting(f"TASKPOST_TELEMETRY={settings.telemetry}: {MISSING}") from exc


class Tracer:
    """Makes spans. Make it after the process was forked."""

    def __init__(self, exporter: str, part: str) -> None:
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.api, self.propagator = trace, TraceContextTextMapPropagator()
        found = trace.get_tracer_provider()
        self.provider = found if isinstance(found, TracerProvider) else provider_of(exporter, part)
        self.tracer = self.provider.get_tracer("taskpost")

    def submitting(self, submission: dict[str, Any], namespace: str) -> Submitting:
        """The span of a submission, in the trace that it comes with; the submission goes on in it."""
        target = submission.get("name") or method_of(submission)
        span = self.tracer.start_span(
            f"submit {target}",
            self.context_of(submission),
            self.api.SpanKind.PRODUCER,
            {
                "messaging.system": "taskpost",
                "messaging.operation.name": "submit",
                "messaging.operation.type": "send",
                "taskpost.namespace": namespace,
                "taskpost.target": target,
            },
        )
        submission["traceparent"] = self.traceparent_of(span)
        return Submitting(self, span)

    @contextmanager
    def attempt(self, task: Leased) -> Iterator[Any]:
        """The span of an attempt, which is current in it: a child of the submission's, and linked to it."""
        parent = self.context_of(task.submission)
        origin = self.api.get_current_span(parent).get_span_context() if parent is not None else None
        target = task.submission.get("name") or method_of(task.submission)
        with self.tracer.start_as_current_span(
            f"process {target}",
            parent,
            self.api.SpanKind.CONSUMER,
            {
                "messaging.system": "taskpost",
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.destination.name": task.queue,
                "messaging.message.id": encode_id(task.id),
                "taskpost.namespace": task.namespace,
                "taskpost.target": target,
                "taskpost.attempt": task.attempt,
            },
            [self.api.Link(origin)] if origin is not None and origin.is_valid else [],
        ) as span:
            yield span

    def decided(self, span: Any, outcome: str, error_type: str) -> None:
        """What came of an attempt: the state of its task, or how that goes on."""
        span.set_attribute("taskpost.outcome", outcome)
        if error_type:
            self.fail(span, error_type)

    @contextmanager
    def call(self, method: str, url: str, attempt: int) -> Iterator[Call]:
        """The span of a call of *url*."""
        parts = urlsplit(url)
        attributes: dict[str, Any] = {
            "http.request.method": method,
            "server.address": parts.hostname or "",
            "server.port": parts.port or (443 if parts.scheme == "https" else 80),
            "url.full": f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}",  # a query may hold secrets
        }
        if attempt > 1:
            attributes["http.request.resend_count"] = attempt - 1
        with self.tracer.start_as_current_span(method, None, self.api.SpanKind.CLIENT, attributes) as span:
            yield Call(self, span)

    def fail(self, span: Any, kind: str, message: str = "") -> None:
        """Say of *span* that it failed."""
        span.set_attribute("error.type", kind)
        span.set_status(self.api.StatusCode.ERROR, message[:200] or None)

    def context_of(self, submission: Mapping[str, Any]) -> Any:
        """The context that a submission came with; None without one."""
        traceparent = submission.get("traceparent")
        return self.propagator.extract({"traceparent": traceparent}) if traceparent else None

    def traceparent_of(self, span: Any) -> str:
        carrier: dict[str, str] = {}
        self.propagator.inject(carrier, self.api.set_span_in_context(span))
        return carrier["traceparent"]

    def close(self) -> None:
        """Send what is left."""
        self.provider.force_flush(5000)


class Submitting:
    """A submission under way."""

    def __init__(self, tracer: Tracer, span: Any) -> None:
        self.tracer, self.span = tracer, span

    def stored(self, id_: bytes, queue: str, *, is_earlier: bool) -> None:
        """It became the task *id_*, or stands for one that was there before."""
        told = {"messaging.message.id": encode_id(id_), "messaging.destination.name": queue}
        self.span.set_attributes({**told, "taskpost.replayed": is_earlier})
        self.span.end()

    def refused(self, problem: Problem) -> None:
        self.tracer.fail(self.span, problem.type, problem.detail)
        self.span.end()


class Call:
    """A call of a URL under way. *traceparent* goes with it."""

    def __init__(self, tracer: Tracer, span: Any) -> None:
        self.tracer, self.span, self.traceparent = tracer, span, tracer.traceparent_of(span)

    def answered(self, status: int) -> None:
        self.span.set_attribute("http.response.status_code", status)
        if status >= 400:
            self.tracer.fail(self.span, str(status))

    def failed(self, kind: str) -> None:
        """There was no answer."""
        self.tracer.fail(self.span, kind)


def method_of(submission: Mapping[str, Any]) -> str:
    """What a URL task is called: by its method, since URLs are too many for names of spans."""
    return str(submission.get("method", "POST"))


def provider_of(exporter: str, part: str) -> Any:
    """A provider that sends to *exporter*, and tells which part of Taskpost it is unless OTEL_SERVICE_NAME does."""
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor

    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: f"taskpost-{part}"}))
    provider = TracerProvider(resource=resource)
    if exporter == "console":
        lines = ConsoleSpanExporter(formatter=lambda span: f"{span.to_json(None)}\n")
        provider.add_span_processor(SimpleSpanProcessor(lines))
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
