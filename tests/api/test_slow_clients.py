"""
Clients that are slow, or never come to an end: each is given up after what the settings allow, and told why where a
word can be said. Others are served meanwhile; tests/faults/test_hostile_clients.py measures memory.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from service.api import slowness
from tests.api.serving import ADD, Serving, serving, until_async
from tests.servers import DEADLINE_SECONDS

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
pytestmark = pytest.mark.parametrize("shared_server", ["valkey"], indirect=True, scope="session")
JSON_HEAD = b"POST /v1/tasks HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
CHUNKED = JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def hasty(store: Any, redis_url: str) -> AsyncIterator[Serving]:
    """An API that waits for nobody longer than half a second."""
    limits = dict.fromkeys(("head_timeout_seconds", "body_timeout_seconds", "unread_timeout_seconds"), 0.5)
    async with serving(redis_url, **limits) as running:
        yield running


async def connect(api: Serving) -> Ends:
    return await asyncio.open_connection("127.0.0.1", api.port)


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    """What still comes until the connection ends, in whatever way."""
    read = b""
    async with asyncio.timeout(DEADLINE_SECONDS):
        try:
            while piece := await reader.read(65_536):
                read += piece
        except ConnectionError:
            pass
    return read


async def drip(writer: asyncio.StreamWriter, byte: bytes) -> None:
    """Send *byte* again and again, as long as the other end takes it."""
    try:
        while True:
            writer.write(byte)
            await writer.drain()
            await asyncio.sleep(0.02)
    except ConnectionError:
        pass


def problem_in(answer: bytes) -> tuple[bytes, str]:
    """Status and type of the one answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head, answer
    return head[9:12], orjson.loads(body)["type"]


@pytest.mark.parametrize(
    ("begun", "byte"),
    [
        (b"GET /v1/queues HTTP/1.1\r\nX: ", b"y"),
        (b"\r\n", b"\r\n"),
        (JSON_HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
        (CHUNKED, b"1\r\n \r\n"),
    ],
    ids=["head", "nothing", "body", "chunks"],
)
async def test_who_drips_is_given_up(hasty: Serving, begun: bytes, byte: bytes) -> None:
    """Whatever comes byte by byte and never ends is answered with the reason, and the connection closed."""
    reader, writer = await connect(hasty)
    writer.write(begun)
    dripping = asyncio.create_task(drip(writer, byte))
    assert (b"408", "/problems/request-timeout") == problem_in(await rest_of(reader))
    dripping.cancel()
    writer.close()


@pytest.mark.parametrize(
    ("begun", "more"),
    [
        (CHUNKED + b"1;", b"e" * 65_536),
        (CHUNKED + b"0\r\n", b"X: " + b"e" * 65_536 + b"\r\n"),
        (CHUNKED + b"0\r\nX: ", b"e" * 65_536),
    ],
    ids=["extension", "trailers", "trailer"],
)
async def test_what_is_neither_head_nor_body_has_a_bound(api: Serving, begun: bytes, more: bytes) -> None:
    """A trailer that goes on and on would be kept as it comes."""
    reader, writer = await connect(api)
    writer.write(begun)
    dripping = asyncio.create_task(drip(writer, more))
    assert (b"431", "/problems/headers-too-large") == problem_in(await rest_of(reader))
    dripping.cancel()
    writer.close()


async def test_bodies_on_their_way_have_a_bound_together(store: Any, redis_url: str) -> None:
    """The one that has been coming for longest makes room; the other is taken."""
    async with serving(redis_url, max_pending_bytes=1 << 20, max_body_bytes=1 << 20) as api:
        head = JSON_HEAD + b"Content-Length: 700000\r\n\r\n"
        reader, writer = await connect(api)
        writer.write(head + b" " * 600_000)
        await until_async(lambda: has_been_seen(api), "the first has been seen to come")
        later, other = await connect(api)
        other.write(head + b" " * 600_000)
        assert (b"503", "/problems/overloaded") == problem_in(await rest_of(reader))
        other.write(orjson.dumps(ADD).rjust(100_000))
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert b"HTTP/1.1 201" == (await later.readline())[:12]
        for one in (writer, other):
            one.close()


async def has_been_seen(api: Serving) -> bool:
    """Whether a look has met a body on its way."""
    debts = [one.slowness.debt for one in api.server.server_state.connections]
    return any(debt is not None and debt.what == "body" for debt in debts)


async def test_who_says_nothing_is_told_nothing(hasty: Serving) -> None:
    """A browser opens connections for later; it sees one close."""
    reader, writer = await connect(hasty)
    assert b"" == await rest_of(reader)
    writer.close()


async def test_a_body_that_was_answered_may_not_go_on_for_ever(hasty: Serving) -> None:
    """What nobody reads is thrown away for a while, so that the client can read the answer; then the line is cut."""
    reader, writer = await connect(hasty)
    writer.write(JSON_HEAD + b"Content-Length: 99999999999\r\n\r\n")
    dripping = asyncio.create_task(drip(writer, b" " * 65_536))
    answer = await rest_of(reader)
    assert (1, b"HTTP/1.1 413") == (answer.count(b"HTTP/1.1"), answer[:12])
    dripping.cancel()
    writer.close()


async def test_who_reads_no_answer_is_cut_off(hasty: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with a hundred answers outstanding: what waits for the client is dropped with the connection."""
    monkeypatch.setattr(slowness, "BYTES_A_SECOND", 1 << 20)  # an answer of its size has 20 seconds more otherwise
    with socket.create_connection(("127.0.0.1", hasty.port)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(b"GET /openapi.yaml HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
        connections = hasty.server.server_state.connections

        async def is_gone() -> bool:
            return not connections

        await until_async(lambda: has(connections), "the connection is made")
        await until_async(is_gone, "the connection is ended")


async def has(those: Any) -> bool:
    return bool(those)


async def test_requests_before_their_turn_have_a_bound(hasty: Serving) -> None:
    """Thousands behind one that is being answered would each take memory, and cost the client twenty bytes."""
    reader, writer = await connect(hasty)
    writer.write(b"GET /v1/tasks HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
    answers = await rest_of(reader)
    assert answers.count(b"HTTP/1.1 200") < 1000
    assert b"HTTP/1.1 400" in answers
    writer.close()


async def test_a_stream_may_be_silent(hasty: Serving) -> None:
    """It goes on when others that are silent were given up twice over; its receipts come as before."""
    reader, writer = await connect(hasty)
    writer.write(b"POST /v1/tasks/stream HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    line = orjson.dumps(ADD) + b"\n"
    for _ in range(2):
        for _ in range(2):
            idle, other = await connect(hasty)
            assert b"" == await rest_of(idle)
            other.close()
        writer.write(b"%x\r\n%b\r\n" % (len(line), line))
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert b'"status":201' in await reader.readuntil(b"}\n")
    [served] = hasty.server.server_state.connections
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE), (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)]
    kept = served.transport.get_extra_info("socket")
    assert [1, 60] == [kept.getsockopt(*option) for option in options], "one whose machine is gone ends, too"
    writer.close()


async def test_connections_have_a_bound(redis_url: str) -> None:
    """One more is told when to come again; as soon as another has gone, there is room."""
    async with serving(redis_url, max_connections=2) as api:
        held = [await connect(api) for _ in range(2)]
        connections = api.server.server_state.connections
        await until_async(lambda: is_as_long(connections, 2), "both are connected")
        reader, writer = await connect(api)
        answer = await rest_of(reader)
        assert (b"503", "/problems/overloaded") == problem_in(answer)
        assert b"retry-after: 5" in answer
        for _, one in [*held, (reader, writer)]:
            one.close()
        await until_async(lambda: is_as_long(connections, 0), "all are gone")
        assert 200 == (await api.http.get("/livez")).status_code


async def is_as_long(those: Any, length: int) -> bool:
    return len(those) == length


async def test_the_target_of_a_request_has_a_bound(redis_url: str) -> None:
    """Path and query together, on every path."""
    async with serving(redis_url, max_target_bytes=1024) as api:
        for place in ("/v1/queues?x=" + "y" * 1024, "/" + "y" * 1024, "/v1/send/https://a.example/" + "y" * 1024):
            answer: httpx.Response = await api.http.get(place)
            assert (414, "/problems/target-too-long") == (answer.status_code, answer.json()["type"])


@pytest.mark.parametrize(
    ("given", "pointers"),
    [
        ({**ADD, "tags": ["a", "b", "c"]}, ["/tags"]),
        ({**ADD, "tags": ["a", "b" * 9]}, ["/tags/1"]),
        ({**ADD, "tags": ["b" * 9, "b" * 8, "b" * 9]}, ["/tags", "/tags/0", "/tags/2"]),
        ({"url": "http://a.example/" + "x" * 64}, ["/url"]),
        ({**ADD, "callback": {"url": "http://a.example/" + "x" * 64}}, ["/callback/url"]),
    ],
)
async def test_what_a_task_carries_has_bounds(redis_url: str, given: dict[str, Any], pointers: list[str]) -> None:
    """Settings may be tighter than what the contract allows, or wider than the defaults; every fault is named."""
    wide: dict[str, Any] = {"max_tags": 256, "max_tag_length": 1024, "max_url_length": 8192}
    async with serving(redis_url, max_tags=2, max_tag_length=8, max_url_length=64, accept_unknown_handlers=True) as api:
        answer = await api.post(given)
        assert pointers == [fault["pointer"] for fault in answer.json()["errors"]], answer.text
    async with serving(redis_url, accept_unknown_handlers=True, **wide) as api:
        assert 201 == (await api.post(given)).status_code
        longest = {"url": "http://a.example/" + "x" * 8175, "tags": ["é" * 1024] * 256}
        assert 201 == (await api.post(longest)).status_code
