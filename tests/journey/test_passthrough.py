"""A webhook that is made durable by a change of its URL."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from tests.journey.receiver import receiver
from tests.parts import system

BODIES = [b'{"b":  1, "a": "\\u00e9"}\n', "pr\xe4zise".encode("latin-1"), bytes(range(256)), b""]


@pytest.mark.parametrize("body", BODIES, ids=["json", "latin-1", "bytes", "none"])
def test_a_signed_webhook_arrives_to_the_byte(redis_url: str, body: bytes) -> None:
    """The sender's signature over the body still holds at the receiver, after a first attempt that failed."""
    signature = hmac.new(b"secret", body, hashlib.sha256).hexdigest()
    with system(redis_url) as running, receiver() as hook:
        hook.answers = [(500, b"")]
        running.start_worker()
        answer = running.api.post(
            f"/v1/send/{hook.url}/in?event=push&taskpost-backoff=0.01",
            content=body,
            headers={
                "Content-Type": "application/json; charset=x",
                "X-Hub-Signature-256": signature,
                "Prefer": "wait=25",
            },
        )
        assert "succeeded" == answer.json()["state"], answer.text
        for _ in range(2):
            path, headers, _ = hook.next()
            arrived = hook.bodies.get(timeout=60)
            assert ("/in?event=push", "application/json; charset=x") == (path, headers["content-type"])
            assert hmac.compare_digest(
                headers["x-hub-signature-256"], hmac.new(b"secret", arrived, hashlib.sha256).hexdigest()
            )
            assert body == arrived
