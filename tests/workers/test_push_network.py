"""Calls over real connections to servers that behave, misbehave, or are not there."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import ANY

import orjson
import pytest

from service.egress import Egress
from tests.workers.test_push_answer import leased
from workers.outcome import Failed, Outcome, Succeeded
from workers.push.client import PushClient

Serve = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
CAP = 100_000


@pytest.fixture
async def client() -> AsyncIterator[PushClient]:
    client = PushClient(max_result_bytes=CAP, egress=Egress(dev=True))
    yield client
    await client.aclose()


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[str]:
    """A server on loopback that reads each request's head and body and leaves the rest to *serve*."""
    tasks = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
                )
                await serve(head + await reader.readexactly(length), reader, writer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def call(client: PushClient, url: str, timeout: float = 60, **submission: Any) -> Outcome:
    options = {"timeout_seconds": timeout, "retries": 3}
    return await client.call(leased(url=url, **submission), options, 1_795_305_630_500)


def answering(*parts: bytes) -> Serve:
    async def serve(_request, _reader, writer):
        for part in parts:
            writer.write(part)

    return serve


async def test_a_request_arrives_as_submitted_and_its_answer_comes_back(client):
    """Over the real transport: method, path, headers, body, and no header of httpx's own."""
    seen = []

    async def echo(request, _reader, writer):
        seen.append(request)
        body = b'{"ok":true}'
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n" + body)

    async with server(echo) as origin:
        outcome = await call(client, origin + "/a?b=c", method="PUT", body={"x": 1}, headers={"X-Tenant": "acme"})
    assert Succeeded(b'{"ok":true}', {"status": 200, "total_ms": ANY}) == outcome
    assert seen[0].startswith(b"PUT /a?b=c HTTP/1.1\r\n")
    assert seen[0].endswith(b'\r\n\r\n{"x":1}')
    lines = {line.partition(b":")[0].lower() for line in seen[0].partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]}
    assert {b"x-tenant", b"content-type", b"content-length", b"host", b"webhook-id", b"taskpost-attempt"} <= lines
    assert b"\r\nUser-Agent: Taskpost\r\n" in seen[0]


@pytest.mark.parametrize("path", ["/a%2Fb/%7Ec?x=a+b&y=%41%20", "/?sig=%2B%2F%3D&z=a%27", "/a/'(b)'?q=[1]|{2}"])
async def test_a_url_is_called_exactly_as_written(client, path):
    """A signed URL would be refused by its server after any re-quoting."""
    seen = []

    async def note(request, _reader, writer):
        seen.append(request.split(b" ")[1].decode())
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with server(note) as origin:
        assert isinstance(await call(client, origin + path), Succeeded)
    assert [path] == seen


async def test_a_url_with_credentials_is_not_called(client):
    """Programs read it in different ways; the submission was refused already. The password is not told."""
    outcome = await call(client, "http://user:s3cret@127.0.0.1:1/")
    assert isinstance(outcome, Failed)
    assert ("UnusableRequest", False) == (outcome.error["type"], outcome.retry)
    assert "carries a user name or a password" in outcome.error["message"]
    assert "s3cret" not in str(outcome)


async def test_no_cookie_is_kept_between_tasks(client):
    """One tenant's session never reaches another's call."""
    seen = []

    async def bake(request, _reader, writer):
        seen.append(request.lower())
        writer.write(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n")

    async with server(bake) as origin:
        for _ in range(2):
            await call(client, origin)
    assert [False, False] == [b"\r\ncookie:" in request for request in seen]


async def test_a_connection_is_used_again(client):
    """The second call pays no handshake."""
    ports = []

    async def note(_request, _reader, writer):
        ports.append(writer.get_extra_info("peername")[1])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with server(note) as origin:
        for _ in range(3):
            await call(client, origin)
    assert 1 == len(set(ports))
    assert 3 == len(ports)


async def test_a_redirect_over_the_wire_is_not_followed(client):
    """The second host is never asked."""
    async with server(answering(b"HTTP/1.1 301 Moved\r\nLocation: /next\r\nContent-Length: 0\r\n\r\n")) as origin:
        outcome = await call(client, origin)
    assert isinstance(outcome, Failed)
    assert ("HttpStatus301", False) == (outcome.error["type"], outcome.retry)


async def test_a_slow_drip_ends_at_the_time_limit(client):
    """A byte now and then does not keep a call alive."""

    async def drip(_request, _reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with server(drip) as origin:
        outcome = await call(client, origin, timeout=0.2)
    assert isinstance(outcome, Failed)
    assert ("TimeLimitExceeded", True) == (outcome.error["type"], outcome.retry)
    assert "within the time limit of 0.2 s" in outcome.error["message"]


async def test_a_server_that_never_answers_ends_at_the_time_limit(client):
    """And headers without end are no answer."""

    async def silent(_request, reader, _writer):
        await reader.read()

    async with server(silent) as origin:
        outcome = await call(client, origin, timeout=0.1)
    assert isinstance(outcome, Failed)
    assert ("TimeLimitExceeded", True) == (outcome.error["type"], outcome.retry)


async def test_an_endless_answer_is_cut_off(client):
    """No more is read than may be kept, and the connection is closed."""
    closed = asyncio.Event()

    async def pour(_request, _reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                await writer.drain()
        finally:
            closed.set()

    async with server(pour) as origin:
        outcome = await call(client, origin)
        await asyncio.wait_for(closed.wait(), 60)
    assert isinstance(outcome, Failed)
    assert ("ResponseTooLarge", False) == (outcome.error["type"], outcome.retry)


async def test_a_gzip_bomb_is_not_unpacked(client):
    """A small answer that would take gigabytes is refused at the bound."""
    bomb = gzip.compress(b"\0" * 50_000_000, 9)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    async with server(answering(head, bomb)) as origin:
        outcome = await call(client, origin)
    assert len(bomb) < CAP
    assert isinstance(outcome, Failed)
    assert "ResponseTooLarge" == outcome.error["type"]


async def reset(_request: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
    await writer.drain()
    linger = b"\1\0\0\0\0\0\0\0"  # on, 0 s: close with a reset
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def hang_up(_request: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize(
    ("serve", "type_", "told"),
    [
        (reset, "ReadError", "the connection"),
        (hang_up, "RemoteProtocolError", "without an answer"),
        (answering(b"SSH-2.0-OpenSSH_9\r\n\r\n"), "RemoteProtocolError", "not valid HTTP"),
        (answering(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"), "HeadersTooLarge", "65536 bytes"),
    ],
)
async def test_a_broken_answer_is_tried_again(client, serve, type_, told):
    """The error says what the server did."""
    async with server(serve) as origin:
        outcome = await call(client, origin)
    assert isinstance(outcome, Failed)
    assert (type_, True) == (outcome.error["type"], outcome.retry)
    assert told in outcome.error["message"]


async def test_a_refused_connection_is_tried_again(client):
    """Nobody listens there yet."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        outcome = await call(client, f"http://127.0.0.1:{unused.getsockname()[1]}/x?token=s3cret")
    assert isinstance(outcome, Failed)
    assert ("ConnectError", True) == (outcome.error["type"], outcome.retry)
    assert outcome.error["message"].endswith("/x: cannot connect: Connection refused")
    assert "s3cret" not in outcome.error["message"]


async def test_a_host_name_that_does_not_resolve_is_told(client):
    """The error names the host."""
    outcome = await call(client, "http://nonexistent.invalid/")
    assert isinstance(outcome, Failed)
    assert ("ResolveError", True) == (outcome.error["type"], outcome.retry)
    assert "the host name 'nonexistent.invalid' does not resolve" in outcome.error["message"]


async def test_a_server_without_tls_behind_https_is_told(client):
    """A wrong scheme is a failed handshake, not a puzzle."""

    async def plain(_reader, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    listening = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        outcome = await call(client, f"https://127.0.0.1:{port}/")
    assert isinstance(outcome, Failed)
    assert ("TlsError", True) == (outcome.error["type"], outcome.retry)
    assert "no TLS with 127.0.0.1:" in outcome.error["message"]


@pytest.mark.parametrize("url", ["http://", "http://h:99999/", "gopher://h/", "http://[broken/", "/nowhere"])
async def test_a_url_that_cannot_be_called_fails_for_good(client, url):
    """What slipped through at submit is not tried again and again."""
    outcome = await call(client, url)
    assert isinstance(outcome, Failed)
    assert not outcome.retry, outcome


async def test_the_environments_proxy_is_not_used(client, monkeypatch):
    """A worker calls what the task names, whatever its environment says."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with server(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as origin:
        fresh = PushClient(max_result_bytes=CAP, egress=Egress(dev=True))
        outcome = await call(fresh, origin)
        await fresh.aclose()
    assert isinstance(outcome, Succeeded)


async def test_no_log_line_shows_a_url(client, caplog):
    """Its query may hold a secret."""
    with caplog.at_level(logging.DEBUG):
        async with server(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as origin:
            await call(client, origin + "/?token=s3cret")
    assert "s3cret" not in caplog.text


async def test_many_calls_run_at_once(client):
    """A slow endpoint holds up no other call."""
    waiting = []
    all_here = asyncio.Event()

    async def wait_for_all(_request, _reader, writer):
        waiting.append(1)
        if len(waiting) == 50:
            all_here.set()
        await all_here.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n1")

    async with server(wait_for_all) as origin:
        outcomes = await asyncio.gather(*[call(client, origin) for _ in range(50)])
    assert [1] * 50 == [orjson.loads(outcome.result_json) for outcome in outcomes]
