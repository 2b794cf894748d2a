"""What receivers get is signed: checked by the package that receivers use, over real processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.journey.receiver import Receiver, receiver
from tests.parts import System, system
from tests.servers import until


@pytest.fixture
def running(redis_url: str) -> Iterator[System]:
    with system(redis_url) as started:
        started.start_worker()
        yield started


@pytest.fixture
def endpoint() -> Iterator[Receiver]:
    with receiver() as held:
        yield held


def secret_of(running: System) -> str:
    items: list[dict[str, Any]] = running.api.get("/v1/secrets", params={"reveal": "true"}).json()["items"]
    return str(items[0]["secret"])


def test_a_receiver_can_check_calls_and_callbacks(running: System, endpoint: Receiver) -> None:
    """With a library and the secret that the API shows; a retry has the same id and a signature of its own."""
    webhook = Webhook(secret_of(running))
    endpoint.answers = [(500, b"{}")]
    submission = {
        "url": f"{endpoint.url}/work",
        "body": {"to": "Zoë", "n": [1, 2.5]},
        "backoff": {"delays_seconds": [1]},
        "callback": {"url": f"{endpoint.url}/done"},
    }
    task = running.api.post("/v1/tasks", json=submission).json()
    first, body = endpoint.next_signed()
    assert {"to": "Zoë", "n": [1, 2.5]} == webhook.verify(body, first)
    again, body = endpoint.next_signed()
    assert {"to": "Zoë", "n": [1, 2.5]} == webhook.verify(body, again)
    assert [task["id"]] * 2 == [first["webhook-id"], again["webhook-id"]]
    assert first["webhook-signature"] != again["webhook-signature"]
    told, body = endpoint.next_signed()
    assert task["id"] == webhook.verify(body, told)["data"]["id"]
    with pytest.raises(WebhookVerificationError):
        webhook.verify(body.replace(b"succeeded", b"failed"), told)


def test_workers_sign_with_a_rotated_secret_within_seconds(running: System, endpoint: Receiver) -> None:
    """While the overlap lasts the old one signs too; rotated without overlap, it is gone."""
    old = secret_of(running)
    running.api.post("/v1/tasks", json={"url": endpoint.url})
    headers, body = endpoint.next_signed()
    Webhook(old).verify(body, headers, json_parse=False)

    def signs(secret: str) -> bool:
        running.api.post("/v1/tasks", json={"url": endpoint.url})
        headers, body = endpoint.next_signed()
        try:
            Webhook(secret).verify(body, headers, json_parse=False)
        except WebhookVerificationError:
            return False
        return True

    rotated = running.api.post("/v1/secrets/rotate", json={"overlap_seconds": 3600})
    new = rotated.json()["items"][0]["secret"]
    until(lambda: signs(new), "a call signed with the new secret")
    assert signs(old)
    running.api.post("/v1/secrets/rotate", json={"overlap_seconds": 0})
    until(lambda: not signs(old), "a call without the old secret")
    assert signs(secret_of(running))
