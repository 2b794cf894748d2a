"""Credentials on calls: each kind, tokens that are kept and renewed, and nothing of them in what comes back."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import jwt
import pytest
import respx

from service.egress import Egress
from service.errors import StoreUnavailable
from service.identity import IdentityKey, new_identity_key
from tests.certificates import client_pair
from tests.workers.test_push_answer import OPTIONS, leased
from workers.outcome import Deferred, Failed, Outcome, Succeeded
from workers.push import certificates, fresh, tokens
from workers.push.certificates import Certificates
from workers.push.client import PushClient
from workers.push.credentials import Credentials

URL = "https://api.test/hook?a=b"
ENDPOINT = "https:api.test"
TOKEN_URL = "https://login.test/token"
SECRET = "s3cret-of-42"
OAUTH = {
    "kind": "oauth2_client_credentials",
    "token_url": TOKEN_URL,
    "client_id": "us & them",
    "client_secret": f"{SECRET}/+",
}
BASIC_PAIR = b64encode(f"us+%26+them:{SECRET}%2F%2B".encode()).decode()  # as OAUTH goes over the wire
KEY = new_identity_key()


class Kept:
    """The settings of endpoints and the key of identity tokens, as a store answers them."""

    def __init__(self) -> None:
        self.auth: dict[str, dict[str, Any]] = {}
        self.changes, self.is_away, self.fields = 0, False, self

    def set(self, auth: dict[str, Any] | None, endpoint: str = ENDPOINT) -> None:
        self.auth.pop(endpoint, None)
        if auth is not None:
            self.auth[endpoint] = auth
        self.changes += 1

    async def version(self) -> bytes:
        if self.is_away:
            raise StoreUnavailable("Redis did not answer")
        return b"%d" % self.changes

    async def read_all(self) -> dict[str, dict[str, Any]]:
        return {f"default/{endpoint}": {"auth": auth} for endpoint, auth in self.auth.items()}

    async def identity(self) -> list[str]:
        return [KEY]


class Calls:
    """A client whose clock the test moves; `hook` is the endpoint, `login` the token server."""

    def __init__(self, router: respx.Router, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kept, self.now = Kept(), 1000.0
        self.hook = router.route(url=URL).mock(httpx.Response(200))
        self.login = router.post(TOKEN_URL)
        self.login.side_effect = self.granted
        self.granted_tokens = 0
        self.seconds: float | None = 3600
        credentials = Credentials(self.kept, self.kept, "https://tasks.test/")  # type: ignore[arg-type]
        self.client = PushClient(max_result_bytes=10_000, credentials=credentials)
        for module in (fresh, tokens):
            monkeypatch.setattr(module, "monotonic", lambda: self.now)

    def granted(self, _request: httpx.Request) -> httpx.Response:
        self.granted_tokens += 1
        told = {"access_token": f"access-token-{self.granted_tokens}", "token_type": "Bearer"}
        return httpx.Response(200, json=told if self.seconds is None else told | {"expires_in": self.seconds})

    async def call(self, **submission: Any) -> Outcome:
        return await self.client.call(leased(url=URL, **submission), OPTIONS, 1_795_305_630_500)

    async def sent(self, **submission: Any) -> httpx.Headers:
        """The headers of the request that a call made."""
        assert isinstance(await self.call(**submission), Succeeded)
        headers: httpx.Headers = self.hook.calls.last.request.headers
        return headers

    def set(self, auth: dict[str, Any] | None, endpoint: str = ENDPOINT) -> None:
        """Change the settings, and let the two seconds pass in which they may not be noticed."""
        self.kept.set(auth, endpoint)
        self.now += 2.1


@pytest.fixture
async def calls(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Calls]:
    with respx.mock(using="httpx", assert_all_called=False) as router:
        made = Calls(router, monkeypatch)
        yield made
        await made.client.aclose()


# ---------------------------------------------------------------- what is sent


async def test_basic_bearer_and_headers_are_sent(calls: Calls) -> None:
    """And nothing once they were taken away; a change is noticed within two seconds."""
    assert "authorization" not in await calls.sent()
    calls.set({"kind": "basic", "username": "ada", "password": "x:y"})
    assert "Basic " + b64encode(b"ada:x:y").decode() == (await calls.sent())["authorization"]
    calls.set({"kind": "bearer", "token": SECRET})
    assert f"Bearer {SECRET}" == (await calls.sent())["authorization"]
    calls.set({"kind": "headers", "headers": {"X-Api-Key": SECRET, "X-Tenant": "acme"}})
    headers = await calls.sent()
    assert (SECRET, "acme") == (headers["x-api-key"], headers["x-tenant"])
    assert "authorization" not in headers
    calls.set(None)
    assert "x-api-key" not in await calls.sent()


async def test_credentials_go_to_their_endpoint_alone(calls: Calls) -> None:
    """Another port or scheme is another endpoint."""
    for endpoint in ("https:api.test:8443", "http:api.test", "https:test", "https:other.test"):
        calls.set({"kind": "bearer", "token": SECRET}, endpoint)
    assert "authorization" not in await calls.sent()


async def test_a_header_of_the_submission_wins(calls: Calls) -> None:
    """In any case of letters; the others are still sent."""
    calls.set({"kind": "headers", "headers": {"X-Api-Key": SECRET, "X-B": "theirs"}})
    headers = await calls.sent(headers={"x-API-key": "mine"})
    assert ("mine", "theirs") == (headers["x-api-key"], headers["x-b"])


async def test_an_access_token_is_fetched_once(calls: Calls) -> None:
    """As RFC 6749 says, for all calls at once, and kept."""
    calls.set({**OAUTH, "scope": "a b", "audience": "https://api.test"})
    await asyncio.gather(*(calls.call() for _ in range(10)))
    assert "Bearer access-token-1" == (await calls.sent())["authorization"]
    assert 1 == calls.login.call_count
    request = calls.login.calls.last.request
    assert "Basic " + b64encode(b"us+%26+them:s3cret-of-42%2F%2B").decode() == request.headers["authorization"]
    form = {"grant_type": ["client_credentials"], "scope": ["a b"], "audience": ["https://api.test"]}
    assert form == parse_qs(request.content.decode())


async def test_id_and_secret_may_go_into_the_body(calls: Calls) -> None:
    calls.set({**OAUTH, "client_in_body": True})
    await calls.sent()
    form = parse_qs(calls.login.calls.last.request.content.decode())
    assert ([OAUTH["client_id"]], [OAUTH["client_secret"]]) == (form["client_id"], form["client_secret"])
    assert "authorization" not in calls.login.calls.last.request.headers


@pytest.mark.parametrize(("expires_in", "kept_seconds"), [(3600, 3569), (10, 8.9), (None, 269), (0, 269)])
async def test_an_access_token_is_fetched_again_before_it_expires(
    calls: Calls, expires_in: float | None, kept_seconds: float
) -> None:
    """So that no call is made with one that ends on its way."""
    calls.seconds = expires_in
    calls.set(OAUTH)
    await calls.call()
    calls.now += kept_seconds
    assert "Bearer access-token-1" == (await calls.sent())["authorization"]
    calls.now += 31
    assert "Bearer access-token-2" == (await calls.sent())["authorization"]


async def test_a_refused_access_token_is_replaced_within_the_attempt(calls: Calls) -> None:
    """It was revoked: the call is made once more with a new one, and the task never knows."""
    calls.set(OAUTH)
    await calls.call()
    calls.hook.side_effect = [httpx.Response(401), httpx.Response(200, json="done")]
    outcome = await calls.call()
    assert isinstance(outcome, Succeeded)
    assert "done" == outcome.result
    assert "Bearer access-token-2" == calls.hook.calls.last.request.headers["authorization"]


async def test_an_endpoint_that_refuses_every_token_gets_two(calls: Calls) -> None:
    """Then the attempt has failed with 401; nobody asks in circles."""
    calls.set(OAUTH)
    calls.hook.side_effect = lambda _: httpx.Response(401)
    outcome = await calls.call()
    assert isinstance(outcome, Failed)
    assert ("HttpStatus401", 2, 2) == (outcome.error["type"], calls.hook.call_count, calls.login.call_count)
    calls.set({"kind": "bearer", "token": SECRET})
    await calls.call()
    assert 3 == calls.hook.call_count


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(401, json={"error": "no", "error_description": f"{SECRET}/+"}), "401: no [hidden]"),
        (httpx.Response(400, json={"error": BASIC_PAIR}), "400: [hidden]"),
        (httpx.Response(500, text="<html>"), "answered 500"),
        (httpx.Response(200, text="no json"), "answered 200"),
        (httpx.Response(200, json={"access_token": "a\r\nX-Evil: b"}), "no bearer token"),
        (httpx.Response(200, json={"access_token": "a", "token_type": "mac"}), "no bearer token"),
        (httpx.ConnectError("refused"), "refused"),
    ],
)  # fmt: skip
async def test_without_an_access_token_nothing_is_sent(calls: Calls, answer: Any, said: str) -> None:
    """The attempt fails, may be tried again, and says what the token server said."""
    calls.set(OAUTH)
    calls.login.side_effect = [answer]
    outcome = await calls.call()
    assert isinstance(outcome, Failed)
    assert ("TokenRefused", True) == (outcome.error["type"], outcome.retry)
    assert said in outcome.error["message"]
    assert TOKEN_URL in outcome.error["message"]
    assert SECRET not in outcome.error["message"]
    assert BASIC_PAIR not in outcome.error["message"]
    assert not calls.hook.called


async def test_a_token_server_is_called_under_the_egress_rules() -> None:
    """An address that no task may call gives no tokens either."""
    kept = Kept()
    kept.set({**OAUTH, "token_url": "http://169.254.169.254/latest/token"})
    client = PushClient(max_result_bytes=1000, credentials=Credentials(kept, kept, "http://i"))  # type: ignore[arg-type]
    outcome = await client.call(leased(url=URL), OPTIONS, 1_795_305_630_500)
    await client.aclose()
    assert isinstance(outcome, Failed)
    assert "TokenRefused" == outcome.error["type"]
    assert "169.254.169.254" in outcome.error["message"]


async def test_a_call_that_is_cancelled_takes_the_token_from_no_other(calls: Calls) -> None:
    calls.set(OAUTH)
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(request: httpx.Request) -> httpx.Response:
        asked.set()
        await answer.wait()
        return calls.granted(request)

    calls.login.side_effect = slow
    first, second = asyncio.create_task(calls.call()), asyncio.create_task(calls.call())
    await asked.wait()
    first.cancel()
    answer.set()
    assert isinstance(await second, Succeeded)
    assert 1 == calls.granted_tokens


@pytest.mark.parametrize(
    ("auth", "audience"), [({}, "https://api.test"), ({"audience": "their-service"}, "their-service")]
)
async def test_an_identity_token_says_who_calls(calls: Calls, auth: dict[str, Any], audience: str) -> None:
    """Checked by the package that receivers use, with the key that the API publishes; the same one for a while."""
    calls.set({"kind": "oidc", **auth})
    bearer = (await calls.sent())["authorization"]
    (key,) = jwt.PyJWKSet.from_dict({"keys": [IdentityKey(KEY).jwk]}).keys
    said = jwt.decode(bearer.removeprefix("Bearer "), key, ["ES256"], audience=audience, issuer="https://tasks.test")
    assert ("taskpost:default", 300) == (said["sub"], said["exp"] - said["iat"])
    assert bearer == (await calls.sent())["authorization"]
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(bearer.removeprefix("Bearer "), key, ["ES256"], audience="https://evil.test")


async def test_nothing_is_sent_before_the_credentials_were_read(calls: Calls) -> None:
    """The task is put off, which costs it no attempt; what was known once stands."""
    calls.kept.is_away = True
    assert isinstance(await calls.call(), Deferred)
    assert not calls.hook.called
    calls.kept.is_away = False
    calls.set({"kind": "bearer", "token": SECRET})
    await calls.sent()
    calls.kept.is_away, calls.now = True, calls.now + 60
    assert f"Bearer {SECRET}" == (await calls.sent())["authorization"]


# ---------------------------------------------------------------- what comes back

SENT_BACK: list[dict[str, Any]] = [
    {"kind": "basic", "username": "ada", "password": SECRET},
    {"kind": "bearer", "token": SECRET},
    {"kind": "headers", "headers": {"X-Api-Key": SECRET, "Authorization": f"Key {SECRET}"}},
    {"kind": "headers", "headers": {"X-Odd": f'"{SECRET}\\'}},
    OAUTH,
    {"kind": "oidc"},
]


@pytest.mark.parametrize("auth", SENT_BACK, ids=lambda auth: auth["kind"])
@pytest.mark.parametrize("status", [200, 302, 400, 429, 500])
@pytest.mark.parametrize("encoding", ["", "gzip"])
async def test_an_endpoint_that_sends_its_request_back_shows_no_secret(
    calls: Calls, auth: dict[str, Any], status: int, encoding: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Not as a result, not as an error, not as a reason, not in the log."""
    caplog.set_level("DEBUG")
    calls.set(auth)
    seen: list[str] = []
    given = str(auth.get("client_secret") or auth.get("headers", {}).get("X-Odd") or SECRET)

    def echo(request: httpx.Request) -> httpx.Response:
        own = {
            name: value for name, value in request.headers.items() if name in ("authorization", "x-api-key", "x-odd")
        }
        seen.extend(own.values())
        password = b64decode(own["authorization"][6:]).decode() if auth["kind"] == "basic" else ""
        told = {"headers": own, "password": password, "message": f"got {own}", given: 1}
        body = json.dumps(told).encode()
        headers = {"content-type": "application/json", "location": next(iter(own.values()))}
        if status == 429:
            headers["retry-after"] = "5"
        if encoding:
            return httpx.Response(status, content=gzip.compress(body), headers=headers | {"content-encoding": "gzip"})
        return httpx.Response(status, content=body, headers=headers)

    calls.hook.side_effect = echo
    outcome = await calls.call(headers={"Accept-Encoding": "gzip"})
    shown = repr(outcome) + caplog.text
    secrets = {part for value in seen for part in value.split(" ") if len(part) > 6 and part != "Bearer"}
    assert secrets
    hidden = secrets if auth["kind"] == "oidc" else {*secrets, given}
    assert [] == [one for one in hidden if one in shown]


@pytest.mark.parametrize("encoding", ["", "gzip"])
@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ('{"pin": 12345678, "n": 1, "ok": true}', {"pin": "[hidden]", "n": 1, "ok": True}),
        ('{"12345678": [1.5, null]}', {"[hidden]": [1.5, None]}),
        ("[" * 900 + "12345678" + "]" * 900, None),  # deep; whatever becomes of it
    ],
)
async def test_a_result_stays_json_whatever_is_hidden_in_it(
    calls: Calls, told: str, expected: Any, encoding: str
) -> None:
    """A password of digits may stand in it as a number; without it the task can still be read."""
    calls.set({"kind": "basic", "username": "ada", "password": "12345678"})
    headers = {"content-type": "application/json"}
    content = told.encode()
    if encoding:
        content, headers["content-encoding"] = gzip.compress(content), encoding
    calls.hook.side_effect = lambda _: httpx.Response(200, content=content, headers=headers)
    outcome = await calls.call()
    assert isinstance(outcome, Succeeded)
    assert b"12345678" not in outcome.result_json
    assert expected in (None, json.loads(outcome.result_json))


async def test_what_stands_anywhere_by_chance_is_left(calls: Calls) -> None:
    """A password of five characters is not hidden, or texts would be full of holes; the header with it is."""
    calls.set({"kind": "basic", "username": "a", "password": "house"})
    pair = b64encode(b"a:house").decode()
    calls.hook.side_effect = lambda _: httpx.Response(
        200, text=f"a house, {pair}", headers={"content-type": "text/plain"}
    )
    outcome = await calls.call()
    assert isinstance(outcome, Succeeded)
    assert "a house, [hidden]" == outcome.result


# ---------------------------------------------------------------- client certificates


@pytest.mark.parametrize("has_memory_files", [True, False])
async def test_a_client_certificate_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_memory_files: bool
) -> None:
    """To a real server that lets nobody else in; the key lies on no disk where the system can keep it in memory."""
    if not has_memory_files:
        monkeypatch.delattr(certificates.os, "memfd_create")
    server_pair, ours, other = client_pair("server"), client_pair("us"), client_pair("somebody")
    (tmp_path / "server.pem").write_text("".join(server_pair))
    (tmp_path / "clients.pem").write_text(ours[0])
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "clients.pem"))
    context.load_cert_chain(tmp_path / "server.pem")
    context.verify_mode = ssl.CERT_REQUIRED

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        subject = writer.get_extra_info("peercert")["subject"][0][0][1].encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(subject), subject)
        )
        writer.close()

    kept = Kept()
    credentials = Credentials(kept, kept, "http://i")  # type: ignore[arg-type]
    client = PushClient(max_result_bytes=1000, egress=Egress(dev=True), credentials=credentials)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    outcomes = []
    try:
        for pair in (ours, other):
            auth = {"kind": "mtls", "certificate": pair[0], "private_key": pair[1]}
            kept.set(auth, f"https:127.0.0.1:{port}")
            credentials._book.forget()
            task = leased(url=f"https://127.0.0.1:{port}/")
            outcomes.append(await client.call(task, OPTIONS, 1_795_305_630_500))
    finally:
        await client.aclose()
        server.close()
    assert isinstance(outcomes[0], Succeeded), outcomes[0]
    assert "us" == outcomes[0].result
    assert isinstance(outcomes[1], Failed)
    assert outcomes[1].retry


def test_contexts_of_certificates_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one used longest ago is forgotten; one that is kept is the same each time, as its connections are."""
    monkeypatch.setattr(certificates, "MOST_CONTEXTS", 2)
    pairs = [client_pair(f"client-{n}") for n in range(3)]
    kept = Certificates()
    first, second = kept.context(pairs[0]), kept.context(pairs[1])
    assert first is kept.context(pairs[0])
    kept.context(pairs[2])
    assert first is kept.context(pairs[0])
    assert second is not kept.context(pairs[1])
