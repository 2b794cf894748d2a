"""Credentials of endpoints over HTTP: they go in, are refused with reasons, and never come out."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from service.credentials import FIELDS
from service.identity import IdentityKey
from service.store import Store
from tests.api.serving import Serving, serving
from tests.certificates import client_pair

PATH = "/v1/endpoints/https:api.example.com/auth"
SECRET = "s3cret-of-42"
OAUTH = {
    "kind": "oauth2_client_credentials",
    "token_url": "https://login.example.com/token",
    "client_id": "us",
    "client_secret": SECRET,
    "scope": "a b",
}
CERTIFICATE, KEY = client_pair("worker-1")
GOOD: list[dict[str, Any]] = [
    {"kind": "basic", "username": "ada", "password": SECRET},
    {"kind": "bearer", "token": SECRET},
    {"kind": "headers", "headers": {"X-Api-Key": SECRET}},
    OAUTH,
    {"kind": "oidc"},
    {"kind": "oidc", "audience": "https://other.example"},
    {"kind": "mtls", "certificate": CERTIFICATE, "private_key": KEY},
]


@pytest.mark.parametrize("auth", GOOD, ids=lambda auth: auth["kind"])
async def test_credentials_go_in_and_are_shown_without_their_secrets(
    api: Serving, store: Store, auth: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The store holds them whole; no answer and no log does."""
    caplog.set_level("DEBUG")
    put, got = await api.http.put(PATH, json=auth), await api.http.get(PATH)
    assert (200, put.json()) == (got.status_code, got.json()), put.text
    assert auth["kind"] == got.json()["kind"]
    assert auth == (await store.endpoint_settings.read("default", "https:api.example.com"))["auth"]
    for text in (put.text, got.text, caplog.text):
        assert SECRET not in text
        assert "PRIVATE KEY" not in text


async def test_what_is_no_secret_is_shown(api: Serving) -> None:
    """Enough to tell which credentials they are, and when a certificate ends."""
    assert {**OAUTH, "client_secret": "…"} == (await api.http.put(PATH, json=OAUTH)).json()
    shown = (await api.http.put(PATH, json=GOOD[-1])).json()
    assert ("CN=worker-1", "…", CERTIFICATE) == (shown["subject"], shown["private_key"], shown["certificate"])
    assert shown["expires_at"].endswith("Z")


async def test_an_endpoint_has_one_name(api: Serving) -> None:
    """In any case of letters, with or without the port that goes without saying."""
    await api.http.put(PATH, json=GOOD[1])
    for name in ("HTTPS:Api.Example.com", "https:api.example.com:443", "https:api.example.com."):
        assert 200 == (await api.http.get(f"/v1/endpoints/{name}/auth")).status_code
    for name in ("http:api.example.com", "https:api.example.com:8443", "https:other.example.com"):
        assert 404 == (await api.http.get(f"/v1/endpoints/{name}/auth")).status_code


@pytest.mark.parametrize(
    "name", ["api.example.com", "ftp:a", "https:", "https:a:0", "https:a:99999", "https:a b", "x" * 999]
)
async def test_what_is_no_endpoint_is_told(api: Serving, name: str) -> None:
    answer = await api.http.put(f"/v1/endpoints/{name}/auth", json=GOOD[1])
    assert (404, "/problems/not-found") == (answer.status_code, answer.json()["type"])
    assert "needs a scheme, a host" in answer.json()["detail"]


async def test_credentials_are_replaced_whole_and_removed(api: Serving, store: Store) -> None:
    """Nothing of the old ones is left, nor a setting of an endpoint that has none."""
    for auth in GOOD[:2]:
        assert 200 == (await api.http.put(PATH, json=auth)).status_code
    assert {"kind": "bearer", "token": "…"} == (await api.http.get(PATH)).json()
    assert 204 == (await api.http.delete(PATH)).status_code
    assert [404, 404] == [(await api.http.get(PATH)).status_code, (await api.http.delete(PATH)).status_code]
    assert {} == await store.endpoint_settings.all_of("default")


@pytest.mark.parametrize(
    ("auth", "pointers"),
    [
        ({}, [""]),
        ({"kind": "magic"}, ["/kind"]),
        ({"kind": "bearer"}, ["/token"]),
        ({"kind": "bearer", "token": f"{SECRET}\r\nX: a"}, ["/token"]),
        ({"kind": "bearer", "token": "…"}, ["/token"]),
        ({"kind": "bearer", "token": [SECRET]}, ["/token"]),
        ({"kind": "bearer", "token": SECRET, "password": SECRET}, ["/password"]),
        ({"kind": "basic", "username": "a:b", "password": SECRET}, ["/username"]),
        ({"kind": "basic", "usrname": "a", "password": SECRET}, ["/usrname"]),
        ({"kind": "headers", "headers": {"Host": "a"}}, ["/headers/Host"]),
        ({"kind": "headers", "headers": {"webhook-id": "a"}}, ["/headers/webhook-id"]),
        ({"kind": "headers", "headers": {"X": f"{SECRET}\n"}}, ["/headers/X"]),
        ({**OAUTH, "token_url": "https://u:p@login.example.com"}, ["/token_url"]),
        ({"kind": "mtls", "certificate": CERTIFICATE, "private_key": SECRET}, ["/private_key"]),
        ({"kind": "mtls", "certificate": "x", "private_key": KEY}, ["/certificate"]),
        ({"kind": "mtls", "certificate": CERTIFICATE, "private_key": client_pair("b")[1]}, ["/private_key"]),
        ({"kind": "mtls", "certificate": CERTIFICATE, "private_key": client_pair("b", b"pw")[1]}, ["/private_key"]),
    ],
)
async def test_faults_are_told_without_the_secrets(api: Serving, auth: dict[str, Any], pointers: list[str]) -> None:
    """A slip must not bring a secret into an error that somebody logs."""
    answer = await api.http.put(PATH, json=auth)
    assert (422, pointers) == (answer.status_code, [one["pointer"] for one in answer.json()["errors"]]), answer.text
    assert SECRET not in answer.text
    assert 404 == (await api.http.get(PATH)).status_code


async def test_a_certificate_that_would_never_be_shown_is_refused(api: Serving) -> None:
    """Plain HTTP has no place for it."""
    auth = {"kind": "mtls", "certificate": CERTIFICATE, "private_key": KEY}
    answer = await api.http.put("/v1/endpoints/http:api.example.com/auth", json=auth)
    assert 422 == answer.status_code
    [fault] = answer.json()["errors"]
    assert ("/kind", True) == (fault["pointer"], "without TLS" in fault["detail"])


async def test_a_kind_that_there_is_not_gets_all_that_there_are(api: Serving) -> None:
    """Nobody has to guess the rest."""
    [fault] = (await api.http.put(PATH, json={"kind": "magic"})).json()["errors"]
    kinds = ", ".join(f'"{kind}"' for kind in FIELDS)
    assert {"pointer": "/kind", "detail": f'"magic" is not one of {kinds}'} == fault


async def test_receivers_find_the_keys_of_identity_tokens(redis_url: str, store: Store) -> None:
    """Without an API key; a library of OpenID Connect checks a token with them."""
    async with serving(redis_url, api_key="k", public_url="https://tasks.example/") as api:
        told = (await api.http.get("/.well-known/openid-configuration")).json()
        assert ("https://tasks.example", "https://tasks.example/.well-known/jwks.json") == (
            told["issuer"], told["jwks_uri"],
        )  # fmt: skip
        answer = await api.http.get("/.well-known/jwks.json")
        assert "max-age" in answer.headers["cache-control"]
        assert {"kty", "crv", "x", "y", "kid", "use", "alg"} == set(answer.json()["keys"][0])
        assert 401 == (await api.http.get(PATH)).status_code
    (pem,) = await store.secrets.identity()
    token = IdentityKey(pem).token(issuer="i", subject="s", audience="a", now_seconds=2_000_000_000)
    (key,) = jwt.PyJWKSet.from_dict(answer.json()).keys
    said = jwt.decode(token, key, algorithms=["ES256"], audience="a", issuer="i", options={"verify_iat": False})
    assert {"iss": "i", "sub": "s", "aud": "a", "iat": 2_000_000_000, "exp": 2_000_000_300} == said
    assert key.key_id == jwt.get_unverified_header(token)["kid"]
