"""What a request to `/v1/send/…` asks for."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from service.contract import validator_of
from service.errors import InvalidSubmission
from service.passthrough import key_of, submission_of

HOOK = b"https://example.com/hook"


def read(
    path: bytes = HOOK, query: bytes = b"", body: bytes = b"", method: str = "POST", ours: bool = False, **headers: str
) -> dict[str, Any]:
    """The submission of a request; *headers* with `_` for `-`."""
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return submission_of(method, path, query, raw, body, is_authorization_ours=ours)


def faults(**request: Any) -> list[dict[str, str]]:
    with pytest.raises(InvalidSubmission) as caught:
        read(**request)
    return caught.value.errors


@pytest.mark.parametrize(
    ("path", "query", "url"),
    [
        (HOOK, b"", "https://example.com/hook"),
        (b"https:/example.com/hook", b"", "https://example.com/hook"),  # as a proxy that merges slashes leaves it
        (b"https%3A%2F%2Fexample.com%2Fhook%3Fa%3D1", b"", "https://example.com/hook?a=1"),
        (b"https%3A%2F%2Fexample.com%2Fhook%3Fa%3D1", b"b=2", "https://example.com/hook?a=1&b=2"),
        (HOOK, b"a=1&b=%20x&a=2", "https://example.com/hook?a=1&b=%20x&a=2"),
        (b"https://example.com/a%2Fb", b"", "https://example.com/a%2Fb"),
        (HOOK, b"taskpost-retries=2&a=1&Taskpost-Delay_Seconds=5", "https://example.com/hook?a=1"),
    ],
)
def test_the_url_is_kept_as_the_sender_wrote_it(path, query, url):
    """Escapes and the order of parameters included; our own parameters are not passed on."""
    assert url == read(path, query)["url"]


def test_options_come_as_header_fields_or_parameters():
    """Each field of a submission under its own name, as its own type."""
    expected = {
        "url": "https://example.com/hook", "method": "PUT", "retries": 10, "delay_seconds": 0.5, "priority": 9,
        "tags": ["a", "b"], "callback": {"url": "https://example.com/done"}, "backoff": {"delays_seconds": [5, 30]},
        "metadata": {"n": 1}, "retry_4xx": True, "queue": "hooks", "idempotency_key": "k-1",
    }  # fmt: skip
    fields = {
        "taskpost_retries": "10", "taskpost_delay_seconds": "0.5", "taskpost_priority": "9", "taskpost_tags": "a, b",
        "taskpost_callback": "https://example.com/done", "taskpost_backoff": "5,30", "taskpost_metadata": '{"n": 1}',
        "taskpost_retry_4xx": "true", "taskpost_queue": "hooks", "taskpost_idempotency_key": "k-1",
    }  # fmt: skip
    assert expected == read(method="PUT", **fields)
    query = "&".join(f"{name.replace('_', '-')}={value}" for name, value in fields.items())
    assert expected == read(query=query.encode(), method="PUT")
    assert validator_of("Submission").is_valid(expected)


def test_the_body_is_kept_to_the_byte():
    """As text where it is text, so that it can be read; white space and escapes stay."""
    assert '{"a" : 1}\n' == read(body=b'{"a" : 1}\n')["body_text"]
    assert b64encode(b"\xff\x00").decode() == read(body=b"\xff\x00")["body_base64"]
    assert not {"body", "body_text", "body_base64"} & set(read())


def test_header_fields_of_the_sender_are_passed_on():
    """Those that tell something about the message; not those about the connection, to us, or from proxies between."""
    sent = {
        "content_type": "application/xml", "x_github_event": "push", "stripe_signature": "t=1", "user_agent": "GitHub",
        "host": "taskpost", "content_length": "3", "connection": "close", "cookie": "a=b",
        "x_forwarded_for": "10.1.1.1",
        "webhook_id": "x", "prefer": "wait=1", "idempotency_key": "k", "x_name": "J\xfcrgen", "taskpost_task": "01M8",
    }  # fmt: skip
    kept = {
        "content-type": "application/xml",
        "x-github-event": "push",
        "stripe-signature": "t=1",
        "user-agent": "GitHub",
    }
    assert kept == read(**sent)["headers"]
    assert {"content-type": "application/xml"} == read(taskpost_forward="none", **sent)["headers"]
    some = read(query=b"taskpost-forward=x-github-*,stripe-signature", **sent)["headers"]
    assert {"content-type", "x-github-event", "stripe-signature"} == set(some)


def test_authorization_is_passed_on_unless_it_is_the_key_to_this_api():
    """Our key never reaches a receiver; the sender's own credentials do."""
    assert {"authorization": "Bearer theirs"} == read(authorization="Bearer theirs")["headers"]
    assert "headers" not in read(authorization="Bearer ours", ours=True)
    set_by_name = read(authorization="Bearer ours", ours=True, taskpost_header_authorization="Bearer x")
    assert {"authorization": "Bearer x"} == set_by_name["headers"]


def test_the_method_may_be_another():
    """For senders that can only POST."""
    assert "GET" == read(taskpost_method="GET")["method"]


@pytest.mark.parametrize(
    ("query", "key"), [(b"a=1&taskpost-key=tp%5Fx", b"tp_x"), (b"taskpost-key=", b""), (b"a=1", None)]
)
def test_the_key_may_be_a_parameter(query, key):
    """For senders that cannot set header fields; it is no option, and not passed on."""
    assert key == key_of(query)
    assert "taskpost-key" not in read(query=query)["url"]


def test_every_fault_is_named_where_it_stands():
    """Options that are none, and values of another type."""
    found = faults(query=b"taskpost-retries=many", taskpost_retrys="3", taskpost_tags="[", taskpost_retry_4xx="1")
    assert {"taskpost-retries"} == {one["parameter"] for one in found if "parameter" in one}
    by_header = {one["header"]: one["detail"] for one in found if "header" in one}
    assert {"taskpost-retrys", "taskpost-tags", "taskpost-retry-4xx"} == set(by_header)
    assert "did you mean taskpost-retries?" in by_header["taskpost-retrys"]


def test_an_option_given_twice_is_refused():
    """Nobody guesses which of the two was meant."""
    assert ["taskpost-retries"] == [
        one["parameter"] for one in faults(query=b"taskpost-retries=1", taskpost_retries="2")
    ]
