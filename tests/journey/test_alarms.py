"""The operator is told by the schedulers themselves: no worker lives. Signed, once, and again when it got no answer."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from service.signing import verify
from tests.journey.receiver import receiver
from tests.parts import system
from tests.servers import Server


@pytest.mark.full  # work waits half a minute before it is said that nobody does it
def test_work_without_a_worker_is_told(start_server: Callable[..., Server]) -> None:
    """Two schedulers look; one call is refused, the next is taken, and there is no third."""
    server = start_server("valkey")
    settings = {"accept_unknown_handlers": 1}
    with receiver() as operator, system(server.url, alert_url=f"{operator.url}/alerts", **settings) as running:
        operator.answers = [(302, b""), (500, b"")]
        running.start("scheduler")
        running.api.post("/v1/tasks", json={"name": "nobody.does"})
        ids = set()
        for _ in range(3):
            _, headers, body = operator.next()
            ids.add(headers["webhook-id"])
            raw = operator.bodies.get(timeout=60)
            assert "workers.missing" == body["type"]
            assert ("default", 1) == (body["data"]["queue"], body["data"]["queued"])
            [secret] = running.api.get("/v1/secrets?reveal=true").json()["items"]
            verify([secret["secret"]], headers, raw, time.time())
            # A refused call is claimed for a minute; the claim is let go, so that the test need not wait.
            server.admin.hdel("tp:{0}:alarms", *[name for name in server.admin.hkeys("tp:{0}:alarms") if name != "#"])
        assert ids
