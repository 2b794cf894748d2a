"""Credentials over real processes: they reach their endpoint, and are found nowhere else, whatever it answers."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
import redis

from service.endpoint import endpoint_of
from service.store import keys
from tests.journey.receiver import Receiver, receiver
from tests.parts import System, system
from tests.servers import until

SECRET = "s3cret-of-42"
ANSWERS = (200, 400, 401, 500)
AUTHS: list[dict[str, Any]] = [
    {"kind": "basic", "username": "ada", "password": SECRET},
    {"kind": "bearer", "token": SECRET},
    {"kind": "headers", "headers": {"X-Api-Key": SECRET}},
]


def set_auth(running: System, endpoint: Receiver, auth: dict[str, Any]) -> None:
    path = f"/v1/endpoints/{endpoint_of(endpoint.url)}/auth"
    assert 200 == running.api.put(path, json=auth).status_code


def call(running: System, endpoint: Receiver) -> tuple[dict[str, str], dict[str, Any]]:
    """The headers that arrived, and the task when it has ended."""
    submission = {"url": endpoint.url, "retries": 0, "callback": {"url": f"{endpoint.url}/done"}}
    task = running.api.post("/v1/tasks", json=submission, headers={"Prefer": "wait=20"}).json()
    _, headers, _ = endpoint.next()
    assert "/done" == endpoint.next()[0]
    return headers, task


@pytest.mark.parametrize("auth", AUTHS, ids=lambda auth: auth["kind"])
def test_a_secret_is_nowhere_but_in_the_request(redis_url: str, auth: dict[str, Any]) -> None:
    """Not in tasks, attempts, lists, callbacks, logs, nor in Redis but where it belongs."""
    with system(redis_url, log_level="debug", api_key="key") as running, receiver() as endpoint:
        running.api.headers["authorization"] = "Bearer key"
        worker = running.start_worker()
        set_auth(running, endpoint, auth)
        shown, sent = "", set()
        for status in ANSWERS:
            endpoint.echo = status
            headers, task = call(running, endpoint)
            sent |= {
                value.rpartition(" ")[2] for name, value in headers.items() if name in ("authorization", "x-api-key")
            }
            assert (status == 200) == (task["state"] == "succeeded"), task
            shown += json.dumps(task)
            for path in (f"/v1/tasks/{task['id']}/attempts", "/v1/tasks", f"/v1/tasks/{task['callback']['task_id']}"):
                shown += running.api.get(path, params={}).text
        assert sent
        shown += worker.printed() + running.web.printed() + running.scheduler.printed()
        with redis.Redis.from_url(redis_url) as kept:
            elsewhere = [key for key in kept.scan_iter() if key != keys.ENDPOINTS.encode()]
            stored = b"".join(kept.dump(key) or b"" for key in elsewhere)
        assert "[hidden]" in shown
        for one in {SECRET, *sent}:
            assert one not in shown
            assert one.encode() not in stored


def test_a_receiver_knows_who_calls_by_an_identity_token(redis_url: str) -> None:
    """With the keys that the API publishes under the issuer of the token, for the audience that it is."""
    with system(redis_url, public_url="https://tasks.example") as running, receiver() as endpoint:
        running.start_worker()
        set_auth(running, endpoint, {"kind": "oidc"})
        until(lambda: "authorization" in call(running, endpoint)[0], "a call with a token")
        token = call(running, endpoint)[0]["authorization"].removeprefix("Bearer ")
        issuer = running.api.get("/.well-known/openid-configuration").json()
        keys_path = issuer["jwks_uri"].removeprefix("https://tasks.example")
        (key,) = jwt.PyJWKSet.from_dict(running.api.get(keys_path).json()).keys
        said = jwt.decode(token, key, ["ES256"], audience=endpoint.url, issuer=issuer["issuer"], leeway=5)
        assert "taskpost:default" == said["sub"]
        assert jwt.get_unverified_header(token)["kid"] == key.key_id
