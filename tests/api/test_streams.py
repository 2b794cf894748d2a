"""`POST /v1/tasks/stream`: lines in, receipts out, at the client's pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from service.api.lines import Lines
from service.api.streams import MOST_BYTES, groups
from tests.api.serving import ADD, Serving, serving

pytestmark = pytest.mark.both_servers

LINE = orjson.dumps(ADD) + b"\n"


class Talk:
    """A stream over a bare connection: lines are sent as chunks, receipts read when they come."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.head = b""
        self.rest = b""

    async def send(self, text: bytes) -> None:
        self.writer.write(b"%x\r\n%b\r\n" % (len(text), text))
        await self.writer.drain()

    async def finish(self) -> None:
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def receipt(self) -> dict[str, Any] | None:
        """The next receipt; None at the end."""
        while b"\n" not in self.rest:
            size = int(await self.reader.readline(), 16)
            chunk = await self.reader.readexactly(size + 2)
            if size == 0:
                return None
            self.rest += chunk[:-2]
        line, _, self.rest = self.rest.partition(b"\n")
        found: dict[str, Any] = orjson.loads(line)
        return found


@asynccontextmanager
async def talk(api: Serving, key: str = "") -> AsyncIterator[Talk]:
    """A stream whose answer has begun, for who brings *key*."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    brought = b"Authorization: Bearer %b\r\n" % key.encode() if key else b""
    writer.write(b"POST /v1/tasks/stream HTTP/1.1\r\nHost: a\r\n%bTransfer-Encoding: chunked\r\n\r\n" % brought)
    talking = Talk(reader, writer)
    talking.head = await reader.readuntil(b"\r\n\r\n")
    try:
        yield talking
    finally:
        writer.close()


async def stream(api: Serving, body: bytes) -> list[dict[str, Any]]:
    answer = await api.http.post("/v1/tasks/stream", content=body, headers={"content-type": "application/x-ndjson"})
    assert 200 == answer.status_code, answer.text
    return [orjson.loads(line) for line in answer.content.splitlines()]


async def test_receipts_come_while_lines_are_sent(api: Serving) -> None:
    """The first receipt is there before the second line is sent, and the answer before the first."""
    async with talk(api) as talking:
        assert b"200 OK" in talking.head
        for index in range(3):
            await talking.send(LINE)
            receipt = await talking.receipt()
            assert receipt is not None
            assert (index, 201) == (receipt["index"], receipt["status"])
            assert receipt["task"] == await api.read(receipt["task"]["id"])
        await talking.finish()
        assert await talking.receipt() is None


async def test_line_in_pieces_is_one_line(api: Serving) -> None:
    """Chunks of the connection have nothing to do with lines."""
    async with talk(api) as talking:
        for at in range(len(LINE)):
            await talking.send(LINE[at : at + 1])
        receipt = await talking.receipt()
        assert receipt is not None
        assert 201 == receipt["status"]


async def test_lines_may_end_in_every_way(api: Serving) -> None:
    """LF, CRLF, or the end of the body; blank lines are no lines."""
    body = b"\n\r\n" + LINE + LINE[:-1] + b"\r\n  \t\n" + LINE[:-1]
    assert [(0, 201), (1, 201), (2, 201)] == [(one["index"], one["status"]) for one in await stream(api, body)]
    assert [] == await stream(api, b"")


async def test_bad_lines_have_receipts_and_the_stream_goes_on(redis_url: str, api: Serving) -> None:
    """Malformed, too long, too deep, wrong: each is told in its place."""
    async with serving(redis_url, max_line_bytes=1024) as small:
        lines = [
            b"{", b"\xff", b'{"x":"' + b"y" * 5000 + b'"}', b'{"n":' + b"[" * 70 + b"]" * 70 + b"}", b"[]",
            b'{"name":"no.such"}', b'{"metadata":{"n":99999999999999999999}}', LINE[:-1], b"z" * 1025, b"z" * 1024,
        ]  # fmt: skip
        got = await stream(small, b"\n".join(lines))
        assert [400, 400, 413, 400, 422, 422, 400, 201, 413, 400] == [one["status"] for one in got]
        assert list(range(10)) == [one["index"] for one in got]
        assert "/problems/too-large" == got[2]["problem"]["type"]


async def test_many_lines_are_stored_in_order(api: Serving) -> None:
    """Twenty thousand, each with its own receipt."""
    body = b"".join(b'{"url":"http://a.example","metadata":{"n":%d}}\n' % n for n in range(20_000))
    seen = 0
    async with talk(api) as talking:

        async def send() -> None:
            for at in range(0, len(body), 50_000):
                await talking.send(body[at : at + 50_000])
            await talking.finish()

        sending = asyncio.create_task(send())
        while (receipt := await talking.receipt()) is not None:
            assert (seen, seen, 201) == (receipt["index"], receipt["task"]["metadata"]["n"], receipt["status"])
            seen += 1
        await sending
    assert 20_000 == seen == (await api.http.get("/v1/queues/default")).json()["queued"]


async def test_client_that_does_not_read_is_not_read_from(api: Serving) -> None:
    """Its lines stay on its side: the service holds no more than the connection does."""
    async with talk(api) as talking:
        sent = 0

        async def send() -> None:
            nonlocal sent
            while True:
                await talking.send(LINE * 1000)
                sent += 1000

        sending = asyncio.create_task(send())
        before = -1
        while before != sent:  # until it stands still
            before = sent
            await asyncio.sleep(1)
        stored = (await api.http.get("/v1/queues/default")).json()["queued"]
        sending.cancel()
    assert 0 < stored <= sent + 2000
    assert sent < 200_000


async def test_stream_ends_when_the_service_stops(api: Serving) -> None:
    """The lines that were read have their receipts, and the answer has an end."""
    async with talk(api) as talking:
        await talking.send(LINE)
        assert await talking.receipt() is not None
        stopping = asyncio.create_task(api.stop())
        assert await talking.receipt() is None
        await stopping


async def test_lost_client_ends_the_stream(api: Serving) -> None:
    """What had come whole is stored, the line that was begun is not."""
    async with talk(api) as talking:
        await talking.send(LINE + LINE[:10])
        assert await talking.receipt() is not None
    while api.server.server_state.tasks:
        await asyncio.sleep(0.01)
    assert 1 == (await api.http.get("/v1/queues/default")).json()["queued"]


@pytest.mark.parametrize("media_type", ["application/json", "text/plain"])
async def test_other_media_types_are_refused(api: Serving, media_type: str) -> None:
    """An array of submissions belongs to the batch."""
    answer = await api.http.post("/v1/tasks/stream", content=LINE, headers={"content-type": media_type})
    assert (415, "/problems/unsupported-media-type") == (answer.status_code, answer.json()["type"])


def test_lines_are_cut_in_bounded_memory() -> None:
    """A line that never ends is dropped as it comes."""
    lines = Lines(10)
    assert [] == lines.feed(b"12345")
    for _ in range(1000):
        assert [] == lines.feed(b"x" * 1000)
        assert len(lines.begun) <= 11
    assert [None, b"a", b"1234567890"] == lines.feed(b"\na\r\n1234567890\r\nrest")
    assert [b"rest"] == lines.end()
    assert [] == lines.end()


def test_groups_are_bounded_in_lines_and_bytes() -> None:
    """At most 128 lines and 1 MiB; a longer line goes alone."""
    assert [128, 128, 44] == [len(group) for group in groups([b"x"] * 300)]
    large = b"x" * (MOST_BYTES // 2)
    assert [2, 1, 1, 1] == [len(group) for group in groups([large, large, large, large * 3, None])]
