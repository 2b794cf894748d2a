"""What is a secret by its name, and what stands in its place."""

from __future__ import annotations

import pytest

from service.redaction import Redaction, shown_url


@pytest.mark.parametrize(
    "name",
    [
        "Authorization", "AUTHORIZATION", "Proxy-Authorization", "proxy-connection", "X-Authorization", "Cookie",
        "Set-Cookie", "X-Api-Key", "Api-Key", "apikey", "X-Auth-Token", "X-Amz-Security-Token", "Client-Secret",
        "webhook-signature", "X-Hub-Signature-256", "Stripe-Signature", "Taskpost-Completion-Url", "X-Session-Id",
        "X-CSRF-Token", "X-Access-Key", "X-Password",
    ],
)  # fmt: skip
def test_fields_that_are_secrets_by_their_names_are_hidden(name: str) -> None:
    assert {name: "[hidden]"} == Redaction().headers({name: "s3cret"})


@pytest.mark.parametrize(
    "name", ["Content-Type", "X-Tenant", "Idempotency-Key", "webhook-id", "WWW-Authenticate", "Author", "X-Cookies-Ok"]
)
def test_other_fields_are_shown(name: str) -> None:
    assert {name: "plain"} == Redaction().headers({name: "plain"})


def test_a_setting_names_more_fields() -> None:
    """With patterns, in any case, beside those that always are."""
    fields = {"X-Tenant": "a", "x-inner-1": "b", "X-Inner": "c", "Cookie": "d"}
    shown = {"X-Tenant": "[hidden]", "x-inner-1": "[hidden]", "X-Inner": "c", "Cookie": "[hidden]"}
    assert shown == Redaction(" x-tenant, X-Inner-*,, ").headers(fields)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.example/x", "https://a.example/x"),
        ("https://a.example/token=1", "https://a.example/token=1"),
        ("https://a.example/?token=s3&a=1", "https://a.example/?token=[hidden]&a=1"),
        ("https://a.example/?a=1&ACCESS_TOKEN=s3#x", "https://a.example/?a=1&ACCESS_TOKEN=[hidden]#x"),
        ("https://a.example/?a=1;api-key=s3;b=2", "https://a.example/?a=1;api-key=[hidden];b=2"),
        ("https://a.example/?key=s3&monkey=1", "https://a.example/?key=[hidden]&monkey=1"),
        ("https://a.example/?sig=a=b&sv=2", "https://a.example/?sig=[hidden]&sv=2"),
        ("https://a.example/?token=&token", "https://a.example/?token=&token"),
        ("https://a.example/??token=s3", "https://a.example/??token=[hidden]"),
        ("https://a.example/?%74oken=s3", "https://a.example/?%74oken=[hidden]"),
        ("https://a.example/#access_token=s3&x=1", "https://a.example/#access_token=[hidden]&x=1"),
        ("/only?token=s3", "/only?token=[hidden]"),
        ("/only?x?token=s3", "/only?x?token=[hidden]"),
        ("what? token=s3", "what? token=s3"),
    ],
)
def test_secrets_in_a_query_are_hidden(url: str, shown: str) -> None:
    """By the names of parameters; the rest stays as it is written."""
    assert shown == shown_url(url)
    assert {"Location": shown} == Redaction().headers({"Location": url})


@pytest.mark.parametrize("sign", "?&;#")
def test_a_hostile_text_is_read_once(sign: str) -> None:
    """An endpoint answers with 60 KB of signs that begin a parameter: were it read from each, a worker stood still."""
    text = "/a=" + sign * 1_000_000
    assert text == shown_url(text)


def test_names_without_end_are_not_remembered() -> None:
    """They would fill the memory of whoever reads answers."""
    redaction = Redaction()
    assert redaction.hides("x-token-" + "a" * 10_000)
    assert 0 == redaction._known.cache_info().currsize
    assert redaction.hides("x-token")
    assert 1 == redaction._known.cache_info().currsize


def test_the_secrets_of_a_call_are_known_one_by_one() -> None:
    """As they stand in the field, and as an endpoint may repeat them without what stands before."""
    fields = {"Authorization": "Bearer t0ken.abc=", "Cookie": "sid=c00kie; x=1", "X-Api-Key": "k3y", "X-Tenant": "acme"}
    found = set(Redaction().secrets(fields, "https://a.example/?token=s3&a=1"))
    assert {"Bearer t0ken.abc=", "t0ken.abc=", "c00kie", "k3y", "s3"} <= found
    assert not {"Bearer", "sid", "acme", "a"} & found
