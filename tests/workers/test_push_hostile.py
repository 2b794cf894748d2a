"""Endpoints that mean harm, or are broken as if they did: each ends as a named outcome, in bounded time and memory."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from service.egress import Egress
from tests.certificates import issued
from tests.workers.test_push_answer import OPTIONS, leased
from tests.workers.test_push_network import CAP, answering, call, client, server
from workers.outcome import Failed, Outcome, Succeeded
from workers.push import connections, wire
from workers.push.client import PushClient
from workers.push.resolve import Resolver

__all__ = ["client"]  # the fixture

OK = b"HTTP/1.1 200 OK\r\n"
# What an endpoint got rid of before it was cut off may lie in buffers of both kernels.
MOST_BUFFERED = 32 * 1024 * 1024


def ended_as(outcome: Outcome, type_: str, *, retry: bool = True) -> str:
    """The message of a failure of that type."""
    assert isinstance(outcome, Failed), outcome
    assert (type_, retry) == (outcome.error["type"], outcome.retry), outcome
    return str(outcome.error["message"])


class Pouring:
    """Writes *piece* for ever after *head*. *poured* counts the bytes, *cut_off* says that it was hung up on."""

    def __init__(self, head: bytes, piece: bytes, pause_seconds: float = 0) -> None:
        self.head, self.piece, self.pause_seconds = head, piece, pause_seconds
        self.poured = 0
        self.cut_off = asyncio.Event()

    async def __call__(self, _request: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.head)
        try:
            while True:
                writer.write(self.piece)
                self.poured += len(self.piece)
                await writer.drain()
                await asyncio.sleep(self.pause_seconds)
        finally:
            self.cut_off.set()


@pytest.mark.parametrize(
    ("head", "piece", "type_", "retry"),
    [
        (OK, b"X-More: " + b"x" * 1000 + b"\r\n", "HeadersTooLarge", True),
        (OK, b"X: y\r\n" * 100, "HeadersTooLarge", True),
        (OK + b"X: ", b"x" * 1000, "HeadersTooLarge", True),
        (b"HTTP/1.1 200 ", b"OK" * 1000, "HeadersTooLarge", True),
        (b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 100, "HeadersTooLarge", True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 10_000, "ResponseTooLarge", False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"e" * 5000 + b"\r\nx\r\n", "HeadersTooLarge", True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"e" * 10_000, "HeadersTooLarge", True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: " + b"x" * 1000 + b"\r\n", "HeadersTooLarge", True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"x" * 10_000, "HeadersTooLarge", True),
        (OK + b"Content-Length: 99999999999\r\n\r\n", b"x" * 65536, "ResponseTooLarge", False),
        (OK + b"\r\n", b"x" * 65536, "ResponseTooLarge", False),
    ],
    ids=[
        "many headers", "small headers", "one header", "reason", "informational", "tiny chunks", "chunk extensions",
        "one extension", "trailers", "one trailer", "length", "until the end",
    ],
)  # fmt: skip
async def test_an_answer_without_end_is_cut_off(client, head, piece, type_, retry):
    """Wherever it grows; the endpoint is hung up on, and no more is held than a result may have."""
    pouring = Pouring(head, piece)
    async with server(pouring) as origin:
        ended_as(await call(client, origin), type_, retry=retry)
        await asyncio.wait_for(pouring.cut_off.wait(), 60)
    assert pouring.poured < MOST_BUFFERED


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"HTTP/1.1 200 ", b"O"),
        (OK, b"X: y\r\n"),
        (OK + b"X: ", b"x"),
        (OK + b"Content-Length: 1000000\r\n\r\n", b"x"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 503 No\r\nRetry-After: 1\r\nContent-Length: 1000000\r\n\r\n", b"x"),
    ],
    ids=["status line", "headers", "one header", "body", "chunks", "trailers", "body of a 503"],
)
async def test_an_answer_in_drips_ends_at_the_time_limit(client, head, piece):
    """A byte now and then keeps no call alive, whatever is said with it; the connection is closed."""
    dripping = Pouring(head, piece, 0.02)
    async with server(dripping) as origin:
        assert "time limit of 0.3 s" in ended_as(await call(client, origin, timeout=0.3), "TimeLimitExceeded")
        await asyncio.wait_for(dripping.cut_off.wait(), 60)


async def test_a_body_in_drips_that_comes_to_its_end_in_time_is_an_answer(client):
    """Slow is not hostile."""

    async def slowly(_request, _reader, writer):
        writer.write(OK + b"Content-Length: 3\r\n\r\n")
        for _ in range(3):
            await asyncio.sleep(0.01)
            writer.write(b"x")

    async with server(slowly) as origin:
        outcome = await call(client, origin)
    assert isinstance(outcome, Succeeded), outcome


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw deflate"])
@pytest.mark.parametrize("status", [200, 500])
async def test_a_decompression_bomb_goes_off_nowhere(client, encoding, status):
    """Of a small answer that would take 50 MB no more is made than may be kept, whatever its status."""
    blank = b"\0" * 50_000_000
    raw = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = {"gzip": gzip.compress(blank, 9), "deflate": zlib.compress(blank, 9)}.get(encoding)
    bomb = bomb or raw.compress(blank) + raw.flush()
    head = b"HTTP/1.1 %d X\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n"
    answer = head % (status, encoding.removeprefix("raw ").encode(), len(bomb))
    async with server(answering(answer, bomb)) as origin:
        outcome = await call(client, origin)
    assert len(bomb) < CAP
    ended_as(outcome, *(["ResponseTooLarge"] if status == 200 else ["HttpStatus500"]), retry=status == 500)
    assert isinstance(outcome, Failed)
    assert len(outcome.error["message"]) < 2000


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        OK + b"Content-Length: -5\r\n\r\nhello",
        OK + b"Content-Length: 5x\r\n\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloworld\r\n0\r\n\r\n",
        OK + b"Bad Header: x\r\n\r\n",
        OK + b"X: a\0b\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x50",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ],
)
async def test_an_answer_that_can_be_read_in_two_ways_is_none(client, answer):
    """Nor one that is no HTTP; it is tried again, and its connection is not."""
    async with server(answering(answer)) as origin:
        message = ended_as(await call(client, origin), "RemoteProtocolError")
    assert "not valid HTTP" in message or "another protocol" in message


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
        OK + b"Content-Length: 2\r\n\r\nok" + b"rubbish",
        OK + b"Content-Length: 2\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
    ids=["second answer", "rubbish", "close", "HTTP/1.0"],
)
async def test_what_follows_an_answer_is_the_answer_to_nothing(client, answer):
    """A server cannot answer the next call, which may be another tenant's, in advance."""
    ports = []

    async def note(_request, _reader, writer):
        ports.append(writer.get_extra_info("peername")[1])
        writer.write(answer if len(ports) == 1 else OK + b"Content-Type: text/plain\r\nContent-Length: 4\r\n\r\nnext")

    async with server(note) as origin:
        await call(client, origin)
        outcome = await call(client, origin)
    assert isinstance(outcome, Succeeded)
    assert b'"next"' == outcome.result_json
    assert 2 == len(set(ports))


async def test_what_a_server_says_unasked_closes_the_connection(client):
    """While nobody waits for an answer, none is taken."""
    ports = []
    said = asyncio.Event()

    async def note(_request, _reader, writer):
        ports.append(writer.get_extra_info("peername")[1])
        writer.write(OK + b"Content-Length: 2\r\n\r\nok")
        if len(ports) == 1:
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.write(OK + b"Content-Length: 6\r\n\r\nforged")
            said.set()

    async with server(note) as origin:
        await call(client, origin)
        await said.wait()
        await asyncio.sleep(0.05)
        assert isinstance(await call(client, origin), Succeeded)
    assert 2 == len(set(ports))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", b'"ok"'),
        (b"", b'"ok"'),
    ],
)
async def test_informational_answers_are_passed_over(client, answer, expected):
    """The one that counts comes behind them."""
    real = OK + b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
    async with server(answering(answer + real)) as origin:
        outcome = await call(client, origin)
    assert isinstance(outcome, Succeeded), outcome
    assert expected == outcome.result_json


async def test_an_answer_may_end_with_its_connection(client):
    """As HTTP/1.0 does; but one that named its length has then been cut."""

    def until_closed(head: bytes) -> Callable[..., Any]:
        async def serve(_request, _reader, writer):
            writer.write(head + b"Content-Type: text/plain\r\n\r\nall of it")
            await writer.drain()
            writer.close()

        return serve

    async with server(until_closed(b"HTTP/1.0 200 OK\r\n")) as origin:
        outcome = await call(client, origin)
    assert isinstance(outcome, Succeeded), outcome
    assert b'"all of it"' == outcome.result_json
    for head in (OK + b"Content-Length: 50\r\n", OK + b"Transfer-Encoding: chunked\r\n"):
        async with server(until_closed(head)) as origin:
            outcome = await call(client, origin)
            kind = "ReadError" if b"Length" in head else "RemoteProtocolError"  # "all of it" is no chunk
            ended_as(outcome, kind)


async def test_an_answer_to_head_has_no_body_whatever_its_length_says(client):
    """And nothing waits for one."""
    async with server(answering(OK + b"Content-Length: 1000\r\n\r\n")) as origin:
        outcome = await call(client, origin, method="HEAD")
    assert isinstance(outcome, Succeeded), outcome


async def test_a_cancelled_call_closes_its_connection_at_once(client):
    """Not when the endpoint has come to its end."""
    begun, closed = asyncio.Event(), asyncio.Event()

    async def wait(_request, reader, _writer):
        begun.set()
        await reader.read()
        closed.set()

    async with server(wait) as origin:
        calling = asyncio.create_task(call(client, origin))
        await asyncio.wait_for(begun.wait(), 60)
        calling.cancel()
        await asyncio.wait_for(closed.wait(), 60)
        with pytest.raises(asyncio.CancelledError):
            await calling


async def test_idle_connections_are_closed(client, monkeypatch):
    """A worker keeps nobody's sockets."""
    monkeypatch.setattr(connections, "KEEP_SECONDS", 0.05)
    closed = asyncio.Event()

    async def note(_request, reader, writer):
        writer.write(OK + b"Content-Length: 0\r\n\r\n")
        await reader.read()
        closed.set()

    async with server(note) as origin:
        await call(client, origin)
        await asyncio.wait_for(closed.wait(), 60)


async def test_an_address_that_does_not_answer_holds_nobody_up():
    """Another one of the host is tried beside it, and the first that answers is called."""
    silent = socket.socket()
    silent.bind(("127.0.0.3", 0))  # bound and not listening: refused; a full backlog: silent
    silent.listen(0)
    port = silent.getsockname()[1]
    filling = [socket.socket() for _ in range(4)]
    for one in filling:
        one.setblocking(False)
        one.connect_ex(("127.0.0.3", port))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"Content-Length: 0\r\n\r\n")
        writer.close()

    async def look_up(_host: str) -> list[str]:
        return ["127.0.0.3", "127.0.0.4", "127.0.0.5"]

    listening = await asyncio.start_server(answer, "127.0.0.5", port)  # on .4 nobody listens
    client = PushClient(max_result_bytes=CAP, egress=Egress(dev=True), resolver=Resolver(look_up=look_up))
    try:
        outcome = await call(client, f"http://many.test:{port}/")
        assert isinstance(outcome, Succeeded), outcome
    finally:
        await client.aclose()
        listening.close()
        for one in (silent, *filling):
            one.close()


def test_both_versions_of_ip_take_turns():
    """A network whose IPv6 is broken calls by IPv4 a moment later."""
    assert ["::1", "1", "::2", "2", "3"] == connections.interleaved(["::1", "::2", "1", "2", "3"])
    assert ["1"] == connections.interleaved(["1"])


# ---------------------------------------------------------------- TLS


@asynccontextmanager
async def tls_server(
    tmp_path: Path, names: tuple[str, ...], days: tuple[int, int] = (-1, 1)
) -> AsyncIterator[tuple[int, list[Any], ssl.SSLContext]]:
    """(port, what was heard, a context that trusts its authority) of an endpoint with a certificate for *names*."""
    authority, certificate, key = issued(*names, days=days)
    (tmp_path / "server.pem").write_text(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    heard: list[Any] = []
    context.sni_callback = lambda _socket, name, _context: heard.append(name)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heard.append(next(line[6:] for line in head.split("\r\n") if line.lower().startswith("host: ")))
        writer.write(OK + b"Content-Length: 0\r\n\r\n")
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    trusting = ssl.create_default_context(cadata=authority)
    try:
        yield listening.sockets[0].getsockname()[1], heard, trusting
    finally:
        listening.close()


async def call_named(port: int, context: ssl.SSLContext | None, host: str = "hook.test") -> Outcome:
    async def look_up(_host: str) -> list[str]:
        return ["127.0.0.1"]

    client = PushClient(
        max_result_bytes=CAP, egress=Egress(dev=True), resolver=Resolver(look_up=look_up), context=context
    )
    try:
        task = leased(url=f"https://{host}:{port}/")
        outcome = await client.call(task, OPTIONS, 1_795_305_630_500)
    finally:
        await client.aclose()
    assert not hasattr(outcome, "heartbeat_seconds")
    return outcome  # type: ignore[return-value]


async def test_the_name_of_the_url_stays_in_tls_and_in_the_host_header(tmp_path):
    """Though the connection is to an address."""
    async with tls_server(tmp_path, ("hook.test",)) as (port, heard, trusting):
        outcome = await call_named(port, trusting)
    assert isinstance(outcome, Succeeded), outcome
    assert ["hook.test", f"hook.test:{port}"] == heard


@pytest.mark.parametrize(
    ("names", "days", "is_trusted", "told"),
    [
        (("hook.test",), (-9, -1), True, "certificate has expired"),
        (("hook.test",), (1, 9), True, "not yet valid"),
        (("other.test",), (-1, 1), True, "Hostname mismatch"),
        (("hook.test",), (-1, 1), False, "unable to get local issuer certificate"),
    ],
    ids=["expired", "not yet valid", "wrong host", "unknown authority"],
)
async def test_a_certificate_that_is_not_to_be_trusted_is_no_connection(tmp_path, names, days, is_trusted, told):
    """Nothing is sent; it is told why, and tried again, since certificates are mended."""
    async with tls_server(tmp_path, names, days) as (port, heard, trusting):
        message = ended_as(await call_named(port, trusting if is_trusted else None), "TlsError")
    assert "the certificate of hook.test is not to be trusted" in message
    assert told in message
    assert ["hook.test"] == heard  # the name in the handshake, and no request


async def test_a_handshake_that_is_broken_off_is_told():
    """By a server that hangs up, or answers in the clear."""
    for said in (b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"):

        async def serve(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, said: bytes = said
        ) -> None:
            await reader.read(100)
            writer.write(said)
            writer.close()

        listening = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with listening:
            port = listening.sockets[0].getsockname()[1]
            assert f"no TLS with hook.test:{port}" in ended_as(await call_named(port, None), "TlsError")


def test_bounds_are_what_the_documentation_says():
    """Who runs an endpoint can look them up."""
    text = (Path(__file__).parents[2] / "docs/push.md").read_text()
    assert f"{wire.MOST_HEAD_BYTES // 1024} KiB" in text
    assert f"{wire.MOST_HEADERS} fields" in text
