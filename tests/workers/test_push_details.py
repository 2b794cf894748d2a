"""What is kept of a call with its attempt: times of a real transport, excerpts with bounds, and no secret."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import respx

from service.called import MOST_BODY_BYTES, MOST_HEADERS_BYTES, CallsOfTask, excerpt
from service.egress import Egress
from service.redaction import Redaction
from service.task import Snapshot, pack_header, pack_submission, parse_record
from tests.certificates import client_pair
from tests.workers.test_push_answer import OPTIONS, leased
from workers.outcome import Deferred, Failed, Succeeded
from workers.push.client import PushClient
from workers.push.resolve import Resolver
from workers.push.trace import Trace

SLOW_SECONDS = 0.05
URL = "http://hooks.test/in?token=qu3rys3cret&a=1"
Answering = Callable[[asyncio.StreamWriter], Awaitable[None]]


async def slowly(writer: asyncio.StreamWriter) -> None:
    """A server that thinks, and then speaks slowly."""
    await asyncio.sleep(SLOW_SECONDS)
    writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\n")
    await asyncio.sleep(SLOW_SECONDS)
    writer.write(b"busy")


@asynccontextmanager
async def endpoint(answer: Answering, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server on loopback that answers each request so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await answer(writer)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def look_up(host: str) -> Sequence[str]:
    """A name server that is slow."""
    await asyncio.sleep(SLOW_SECONDS)
    return ["127.0.0.1"]


@asynccontextmanager
async def pushing(**given: Any) -> AsyncIterator[PushClient]:
    client = PushClient(max_result_bytes=100_000, egress=Egress(dev=True), resolver=Resolver(look_up=look_up), **given)
    try:
        yield client
    finally:
        await client.aclose()


async def kept(client: PushClient, url: str, timeout: float = 60, **submission: Any) -> dict[str, Any]:
    """What is kept of a call that fails."""
    outcome = await client.call(leased(url=url, **submission), {**OPTIONS, "timeout_seconds": timeout}, 0)
    assert isinstance(outcome, Failed | Deferred), outcome
    assert outcome.http is not None
    return outcome.http


# ---------------------------------------------------------------- times


async def test_each_step_has_its_time(tmp_path: Path) -> None:
    """Name, connection and TLS of a real call; of the next one on the same connection neither."""
    certificate, key = client_pair("hooks.test")
    (tmp_path / "pair.pem").write_text(certificate + key)
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(tmp_path / "pair.pem")
    ours = ssl.create_default_context(cafile=str(tmp_path / "pair.pem"))
    async with endpoint(slowly, server_side) as port, pushing(context=ours) as client:
        first = await kept(client, f"https://hooks.test:{port}/")
        second = await kept(client, f"https://hooks.test:{port}/")
    slow_ms = SLOW_SECONDS * 1000
    assert (500, f"127.0.0.1:{port}", False) == (first["status"], first["address"], first["reused"])
    dns, connect, tls, first_byte, body, total = first["times"]
    assert min(dns, first_byte) >= slow_ms - 1
    assert first_byte + body >= 2 * slow_ms - 1, "the first byte may be heard late on a busy machine"
    assert connect > 0
    assert tls > 0
    assert total >= dns + connect + tls + first_byte + body - 0.1
    assert (500, f"127.0.0.1:{port}", True) == (second["status"], second["address"], second["reused"])
    assert [None, None, None] == second["times"][:3]
    assert second["times"][3] >= slow_ms - 1
    assert sum(second["times"][3:5]) >= 2 * slow_ms - 1


async def test_a_call_that_got_stuck_has_the_times_of_what_it_did() -> None:
    """It connected, and no byte came: the rest is null."""

    async def silent(_writer: asyncio.StreamWriter) -> None:
        """Say nothing."""

    async with endpoint(silent) as port, pushing() as client:
        http = await kept(client, f"http://127.0.0.1:{port}/", timeout=0.2)
    dns, connect, tls, first_byte, body, total = http["times"]
    assert (None, None, None, None) == (dns, tls, first_byte, body)
    assert connect > 0
    assert total >= 199
    assert (None, f"127.0.0.1:{port}") == (http["status"], http["address"])
    assert "answer" not in http


async def test_a_refused_connection_says_where_it_was_tried() -> None:
    """With the time of the look-up, which worked."""
    async with endpoint(slowly) as port:
        pass
    async with pushing() as client:
        http = await kept(client, f"http://hooks.test:{port}/")
    assert (None, f"127.0.0.1:{port}", False) == (http["status"], http["address"], http["reused"])
    assert [None] * 4 == http["times"][1:5]
    assert http["times"][0] >= SLOW_SECONDS * 1000 - 1


def test_a_request_that_is_sent_again_has_its_own_times() -> None:
    """After a token that was refused; the whole counts both."""
    trace = Trace()
    begun, trace.dns, trace.address = trace.begun, 1.0, "127.0.0.1:80"
    trace.begin_again()
    assert (begun, None, None) == (trace.begun, trace.dns, trace.address)


async def test_a_mock_has_no_times_but_the_whole() -> None:
    """Nothing was on a wire."""
    with respx.mock(using="httpx") as router:
        router.route(url=URL).respond(500)
        async with pushing() as client:
            http = await kept(client, URL)
    assert [None] * 5 == http["times"][:5]
    assert (None, None) == (http["address"], http["reused"])
    assert http["times"][5] > 0


# ---------------------------------------------------------------- how much is kept


@pytest.mark.parametrize(
    ("task", "keeps_all", "is_whole"),
    [({}, False, False), ({}, True, True), ({"attempt": 2}, False, True), ({"crashes": 1}, False, True)],
)
async def test_of_a_first_call_that_succeeds_little_is_kept(
    task: dict[str, int], keeps_all: bool, is_whole: bool
) -> None:
    """Status and time, which need no key of their own; everything when asked for, or when it is not the first."""
    with respx.mock(using="httpx") as router:
        router.route(url=URL).respond(200, json=5)
        async with pushing(keeps_all=keeps_all) as client:
            one = leased(url=URL)
            for name, value in task.items():
                setattr(one, name, value)
            outcome = await client.call(one, OPTIONS, 0)
    assert isinstance(outcome, Succeeded)
    assert outcome.http is not None
    assert is_whole == ("answer" in outcome.http)
    assert is_whole or {"status", "total_ms"} == outcome.http.keys()


GZIP = {"content-encoding": "gzip"}
HOSTILE: dict[str, tuple[Any, bytes]] = {
    "many fields": ({f"x-{number}": "v" * 40 for number in range(200)}, b""),
    "long value": ({"x": "v" * 60_000, "y": "z"}, b""),
    "long name": ({"x" * 60_000: "v"}, b""),
    "wide letters": ([(b"x-wide", b"\xff" * 5000)] * 9, b""),
    "long body": ({}, b"x" * 70_000),
    "zeros": ({}, b"\0" * 70_000),
    "controls": ({}, b"\1" * 70_000),
    "emoji": ({}, "\U0001f4ac".encode() * 20_000),
    "no UTF-8": ({}, b"\xff\xfe" * 20_000),
    "bomb": (GZIP, gzip.compress(b"x" * 30_000_000)),
    "no gzip": (GZIP, b"no" * 5000),
    "quotes": ({f"x-{number}": '"\\' * 100 for number in range(20)}, b'"\\' * 5000),
}


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_what_is_kept_is_bounded_whatever_is_answered(hostile: str) -> None:
    """JSON of at most 16 KiB, with headers as well as an excerpt."""
    headers, body = HOSTILE[hostile]
    answer = httpx.Response(500, headers=headers, stream=httpx.ByteStream(body))
    async with pushing(transport=httpx.MockTransport(lambda _: answer)) as client:
        http = await kept(client, URL, headers={f"X-Given-{number}": "g" * 400 for number in range(30)})
    assert len(orjson.dumps(http)) < 16 * 1024
    told = http["answer"]
    assert http["sent_left_out"] > 0
    for fields in (http["sent"], told["headers"]):
        assert MOST_HEADERS_BYTES >= sum(len(name.encode()) + len(value.encode()) for name, value in fields.items())
    assert len(told.get("body_text", "").encode()) <= MOST_BODY_BYTES


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"", {}),
        (b"Gr\xc3\xbc\xc3\x9fe", {"body_text": "Grü"}),
        (b"\xc3\xbc" * 3, {"body_text": "üü"}),
        (b"ab\0", {"body_base64": "YWIA"}),
        (b"\xff", {"body_base64": "/w=="}),
        (b"\xc3", {"body_base64": "ww=="}),
    ],
)
def test_an_excerpt_is_text_where_it_can_be(body: bytes, shown: dict[str, str]) -> None:
    """Cut between letters, not within one; other bytes are base64."""
    assert shown == excerpt(body, 5)


# ---------------------------------------------------------------- secrets

GIVEN = {
    "Authorization": "Bearer b3arers3cret",
    "Cookie": "sid=c00kies3cret; theme=dark",
    "X-Api-Key": "k3ys3cret!",
    "X-Tenant": "acme-own-s3cret",
}
SECRETS = ("b3arers3cret", "c00kies3cret", "k3ys3cret!", "qu3rys3cret", "acme-own-s3cret", "s3tc00kie")


@pytest.mark.parametrize("status", [200, 302, 400, 429, 500])
@pytest.mark.parametrize("encoding", ["", "gzip"])
async def test_no_secret_of_a_submission_is_kept(status: int, encoding: str) -> None:
    """Though the endpoint sends back all that it got; only a result is left as it is."""

    def echo(request: httpx.Request) -> httpx.Response:
        told = {"got": dict(request.headers), "url": str(request.url), "message": f"got {request.headers.raw}"}
        body = orjson.dumps(told)
        headers = {"location": f"{request.url}&x=1", "set-cookie": "sid=s3tc00kie", "x-echo": GIVEN["X-Api-Key"]}
        headers |= {"content-type": "application/json"} | ({"retry-after": "5"} if status == 429 else {})
        if encoding:
            headers["content-encoding"], body = encoding, gzip.compress(body)
        return httpx.Response(status, content=body, headers=headers)

    with respx.mock(using="httpx") as router:
        router.route(url=URL).mock(side_effect=echo)
        async with pushing(redaction=Redaction("x-tenant")) as client:
            task = leased(url=URL, headers={**GIVEN, "Accept-Encoding": "gzip"})
            task.attempt = 2
            outcome = await client.call(task, OPTIONS, 0)
    if isinstance(outcome, Succeeded):
        assert b"b3arers3cret" in outcome.result_json
        shown = repr(outcome.http)
    else:
        shown = repr(outcome)
    assert "[hidden]" in shown
    assert [] == [one for one in SECRETS if one in shown]


async def test_a_password_in_the_clear_is_a_secret_too() -> None:
    """An endpoint may take apart what Basic authentication says."""
    pair = b64encode(b"ada:p4ssw0rd").decode()
    with respx.mock(using="httpx") as router:
        router.route(url=URL).respond(400, text="wrong password: p4ssw0rd")
        async with pushing() as client:
            outcome = await client.call(leased(url=URL, headers={"Authorization": f"Basic {pair}"}), OPTIONS, 0)
    assert "p4ssw0rd" not in repr(outcome)
    assert pair not in repr(outcome)


# ---------------------------------------------------------------- how it reads


def shown(http: dict[str, Any] | None, **submission: Any) -> dict[str, Any] | None:
    header = pack_header(state=b"W", priority=5, lane="url", time_ms=0, max_crashes=3, queue="default")
    record = parse_record(header + pack_submission({"url": URL} | submission))
    calls = CallsOfTask(Snapshot(bytes(16), record, None, None, 0), OPTIONS, Redaction())
    return calls.shown({"attempt": 2, "started_ms": 1_795_305_600_000, "http": http})


def test_a_call_of_which_little_is_kept_reads_as_far_as_it_is_known() -> None:
    """Its request is made from the task again."""
    call = shown({"status": 200, "total_ms": 12.5}, headers={"X-Tenant": "acme", "X-Api-Key": "k3y"}, body={"n": 1})
    assert call is not None
    assert {"dns_ms", "connect_ms", "tls_ms", "first_byte_ms", "body_ms"} == {
        name for name, value in call["times"].items() if value is None
    }
    assert (200, 12.5, None, None) == (call["status"], call["times"]["total_ms"], call["address"], call["reused"])
    assert ('{"n":1}', 7) == (call["request"]["body_text"], call["request"]["body_bytes"])
    assert ("acme", "[hidden]") == tuple(call["request"]["headers"][name] for name in ("X-Tenant", "X-Api-Key"))
    assert "http://hooks.test/in?token=[hidden]&a=1" == call["request"]["url"]
    assert "response" not in call
    assert "k3y" not in repr(call)


def test_a_long_header_is_whole_in_the_command() -> None:
    """What was cut to be kept is in the submission."""
    call = shown({"status": 500, "times": [None] * 6, "sent": {"X-Long": "cut…"}}, headers={"X-Long": "v" * 1000})
    assert call is not None
    assert "cut…" == call["request"]["headers"]["X-Long"]
    assert "v" * 1000 in call["curl"]


def test_an_envelope_is_that_of_its_attempt() -> None:
    """But for the completion URL, which is a secret."""
    call = shown({"status": 500, "times": [None] * 6, "sent": {}}, envelope=True, body=5)
    assert call is not None
    told = orjson.loads(call["request"]["body_text"])
    assert (2, 4, 5, "[hidden]") == tuple(told[name] for name in ("attempt", "max_attempts", "body", "completion_url"))


def test_what_ended_later_has_its_status_alone() -> None:
    """The worker that made the call did not see its end."""
    assert {"status": 202} == shown({"status": 202})
    assert None is shown(None)
