"""The access log: one line a request, at its end, with who asked and without what is secret."""

from __future__ import annotations

import json
import logging
from contextlib import closing
from typing import Any

import httpx
import pytest

from service.api.access_log import AccessLog, target_of
from service.ports import free_port
from tests.api.serving import ADD, serving, until_async
from tests.api.test_keys import holder
from tests.api.test_sockets import opened
from tests.parts import Part
from tests.servers import until

LOGGER = "taskpost.access"
TASK = {"url": "http://a.example/hook"}


def lines_of(part: Part) -> list[dict[str, Any]]:
    """What the access log of a process that logs JSON says so far; without its answers while it was not ready."""
    lines = [json.loads(line) for line in part.printed().splitlines() if line.endswith("}")]
    return [line for line in lines if line["logger"] == LOGGER and line["route"] != "/readyz"]


def is_ready(http: httpx.Client) -> bool:
    try:
        return http.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_a_process_logs_each_request_once(redis_url: str) -> None:
    """As JSON, also what is refused; a stream when it ends, probes not at all; and no secret ever."""
    port = free_port("127.0.0.1")
    settings = {"port": port, "api_key": "s3cret", "access_log": 1, "log_format": "json", "log_level": "warning"}
    with (
        closing(Part("web", redis_url, **settings)) as part,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as http,
    ):
        until(lambda: is_ready(http), "the API is ready")
        bearer = {"authorization": "Bearer s3cret", "x-request-id": "r-1", "x-forwarded-for": "10.1.2.3"}
        created = http.post("/v1/tasks", json=TASK, headers=bearer)
        assert 201 == created.status_code
        http.get(f"/v1/tasks/{created.json()['id']}?wait=0&token=s3cret", headers=bearer)
        http.get("/v1/queues", headers={"authorization": "Bearer s3cret-and-more"})
        http.post("/v1/completions/s3cret/complete", json={})
        http.post("/v1/send/https://u:s3cret@a.example/x?key=s3cret")
        http.get("/nothing%0Ahere?password=s3cret")
        with http.stream("GET", "/v1/events", headers=bearer) as stream:
            chunks = stream.iter_bytes()  # held: without it the stream would be closed
            next(chunks)
            assert 6 == len(lines_of(part))
        until(lambda: len(lines_of(part)) == 7, "the line of the stream")
        assert 0 == part.end()
        submitted, read, *others = lines_of(part)
        assert "s3cret" not in part.printed()
    expected = {
        "level": "info", "method": "POST", "route": "/v1/tasks", "operation": "submitTask", "target": "/v1/tasks",
        "status": 201, "bytes": len(created.content), "key_id": "operator", "key_name": "operator",
        "namespace": "default", "address": "127.0.0.1", "forwarded_for": "10.1.2.3", "request_id": "r-1",
    }  # fmt: skip
    assert expected == {name: submitted.get(name) for name in expected}
    assert submitted["message"].startswith("POST /v1/tasks 201 in ")
    assert 0 < submitted["duration_ms"]
    assert f"/v1/tasks/{created.json()['id']}?wait=0&token=[hidden]" == read["target"]
    assert "/v1/tasks/{id}" == read["route"]
    assert [
        (401, "/v1/queues", None),
        (404, "/v1/completions/[hidden]/complete", None),
        (401, "/v1/send/[hidden]", None),
        (404, "/nothing%0Ahere?password=[hidden]", None),
        (200, "/v1/events", "operator"),
    ] == [(line["status"], line["target"], line["key_id"]) for line in others]


async def test_who_asked_is_told_by_the_name_of_the_key(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Also where the key may not do that, and over a WebSocket, which is logged when it is closed."""
    async with serving(redis_url, api_key="s3cret", access_log=True) as api:
        api.http.headers["authorization"] = "Bearer s3cret"
        async with holder(api, "tasks:read") as client:
            caplog.clear()
            assert 403 == (await client.post("/v1/tasks", json=ADD)).status_code
            async with opened(api, additional_headers={"authorization": client.headers["authorization"]}) as ws:
                await ws.recv()

            async def is_told() -> bool:
                return len([one for one in caplog.records if one.name == LOGGER]) == 2

            await until_async(is_told, "the WebSocket is logged")
    refused, followed = [vars(one) for one in caplog.records if one.name == LOGGER]
    assert (403, "submitTask") == (refused["status"], refused["operation"])
    assert (101, "/v1/events") == (followed["status"], followed["route"])
    assert refused["key_id"] == followed["key_id"] != "operator"
    assert refused["key_name"] == followed["key_name"]
    assert followed["bytes"] > 0
    assert logging.INFO == refused["levelno"]


async def test_nothing_of_it_is_there_unless_it_is_asked_for(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """What is off costs nothing."""
    async with serving(redis_url) as api:
        assert not isinstance(api.api.http, AccessLog)
        assert 200 == (await api.http.get("/v1/queues")).status_code
    assert [] == [one for one in caplog.records if one.name == LOGGER]


@pytest.mark.parametrize(("path", "query", "shown"), [
    ("/v1/tasks", b"state=failed&cursor=a%3D", "/v1/tasks?state=failed&cursor=a%3D"),
    ("/v1/tasks", b"api_key=x&q=\xff \n", "/v1/tasks?api_key=[hidden]&q=%FF%20%0A"),
    ("/api/v1/completions/abc", b"", "/api/v1/completions/[hidden]"),
    ("/v1/send/https://a.example/\nhook", b"sig=x", "/v1/send/[hidden]"),
    ("/\x1b[31m\u2028", b"", "/%1B[31m%E2%80%A8"),
    ("/" + "a" * 600, b"", "/" + "a" * 499),
])  # fmt: skip
def test_a_target_is_one_line_without_secrets(path: str, query: bytes, shown: str) -> None:
    """Whatever a client sends as path and query."""
    assert shown == target_of(path, query)
