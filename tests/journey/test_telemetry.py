"""One trace, followed from the request that submits through API and worker to the endpoint, across real processes."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest

from service.errors import InvalidSetting
from service.settings import Settings
from service.task import Leased
from service.telemetry import tracer_of
from tests.journey.receiver import receiver
from tests.parts import Part, system
from tests.servers import until

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ORIGIN = f"00-{TRACE}-{PARENT}-01"


def spans(*parts: Part) -> list[dict[str, Any]]:
    """What the parts printed of spans, in order."""
    lines = [line for part in parts for line in part.printed().splitlines() if line.startswith("{")]
    return [one for one in map(json.loads, lines) if "trace_id" in one.get("context", {})]


def named(found: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [one for one in found if one["name"] == name]


def span_id(text: str) -> str:
    return text.removeprefix("0x")


def test_a_trace_goes_from_the_request_to_the_endpoint(redis_url: str) -> None:
    """Submission, attempts and calls are children of what came before; a second attempt is in the same trace."""
    with receiver() as endpoint, system(redis_url, telemetry="console") as running:
        worker = running.start_worker()
        endpoint.answers = [(503, b"")]
        task = {"url": f"{endpoint.url}/hook", "body": {"a": 1}, "backoff": {"delays_seconds": [0.01]}, "queue": "mail"}
        made = running.api.post("/v1/tasks", json=task, headers={"traceparent": ORIGIN}).json()
        until(lambda: running.api.get(f"/v1/tasks/{made['id']}").json()["state"] == "succeeded", "the task is done")
        heard = [endpoint.next()[1]["traceparent"].split("-") for _ in range(2)]
        until(lambda: len(named(spans(worker), "process POST")) == 2, "both attempts have told of themselves")
        found = spans(running.web, worker)
        assert {f"0x{TRACE}"} == {one["context"]["trace_id"] for one in found}
        [submit] = named(found, "submit POST")
        assert (f"0x{PARENT}", "SpanKind.PRODUCER") == (submit["parent_id"], submit["kind"])
        told = submit["attributes"]
        assert (made["id"], "mail") == (told["messaging.message.id"], told["messaging.destination.name"])
        first, second = named(found, "process POST")
        for attempt, outcome in ((first, "retried"), (second, "succeeded")):
            assert submit["context"]["span_id"] == attempt["parent_id"]
            assert [submit["context"]["span_id"]] == [link["context"]["span_id"] for link in attempt["links"]]
            assert ("SpanKind.CONSUMER", outcome) == (attempt["kind"], attempt["attributes"]["taskpost.outcome"])
        calls = named(found, "POST")
        assert [(TRACE, span_id(one["context"]["span_id"])) for one in calls] == [(one[1], one[2]) for one in heard]
        assert [503, 200] == [one["attributes"]["http.response.status_code"] for one in calls]
        assert [first["context"]["span_id"], second["context"]["span_id"]] == [one["parent_id"] for one in calls]
        assert ["ERROR", "UNSET"] == [one["status"]["status_code"] for one in calls]


def test_submissions_of_every_way_have_spans(redis_url: str) -> None:
    """In a batch and a stream each its own; one that is refused says why."""
    with system(redis_url, telemetry="console") as running:
        worker = running.start_worker()
        add = {"name": "demo.add", "args": {"a": 1, "b": 1}}
        running.api.post("/v1/tasks/batch", json=[add, {"name": "demo.ad"}])
        lines = {"content-type": "application/x-ndjson"}
        running.api.post("/v1/tasks/stream", content=json.dumps(add) + "\n", headers=lines)
        assert 422 == running.api.post("/v1/tasks", json={**add, "retries": "x"}).status_code
        until(lambda: len(named(spans(worker), "process demo.add")) == 2, "two tasks are done")
        found = spans(running.web)
        assert 3 == len(named(found, "submit demo.add"))
        kinds = [one["attributes"].get("error.type") for one in found]
        assert ["", "", "invalid-submission", "unknown-handler"] == sorted(kind or "" for kind in kinds)
        assert "taskpost-web" == found[0]["resource"]["attributes"]["service.name"]


async def test_what_a_handler_traces_belongs_to_its_attempt() -> None:
    """The attempt's span is the current one while it runs; the application's own provider is used."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    trace.set_tracer_provider(provider)
    tracer = tracer_of(Settings(telemetry="otlp"), "worker")
    assert tracer is not None

    async def handler() -> None:
        with trace.get_tracer("mine").start_as_current_span("of the handler"):
            await asyncio.sleep(0)

    task = Leased(bytes(16), bytes(12), b"", {"name": "demo.add"}, "q", "default", 5, "async", 1, 0, 0)
    with tracer.attempt(task):
        await asyncio.create_task(handler())
    inner, outer = kept.get_finished_spans()
    assert ("of the handler", "process demo.add") == (inner.name, outer.name)
    assert inner.parent is not None
    assert outer.context.span_id == inner.parent.span_id


def test_without_the_packages_the_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    for name in [one for one in sys.modules if one.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(InvalidSetting, match=r"pip install 'taskpost\[telemetry\]'"):
        tracer_of(Settings(telemetry="otlp"), "web")
