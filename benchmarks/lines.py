"""
Sends a stream of submissions and counts its receipts: `python -m benchmarks.lines PORT LINES LINE`.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time

import orjson
import uvloop

from benchmarks.system import HOST

CHUNK_LINES = 500


async def send_lines(port: int, lines: int, line: bytes) -> dict[str, float]:
    """Send, and read receipts meanwhile. Raises RuntimeError when one is no success."""
    ends = socket.socket()
    ends.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)  # what lies in buffers counts as sent
    ends.setblocking(False)
    await asyncio.get_running_loop().sock_connect(ends, (HOST, port))
    reader, writer = await asyncio.open_connection(sock=ends)
    writer.write(
        b"POST /v1/tasks/stream HTTP/1.1\r\nhost: bench\r\ncontent-type: application/x-ndjson\r\n"
        b"transfer-encoding: chunked\r\n\r\n"
    )
    sent = 0

    async def send() -> None:
        nonlocal sent
        while sent < lines:
            many = min(CHUNK_LINES, lines - sent)
            text = (line + b"\n") * many
            writer.write(b"%x\r\n%b\r\n" % (len(text), text))
            sent += many
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    began = time.perf_counter()
    sending = asyncio.create_task(send())
    created = first = 0
    rest = b""
    while not rest.endswith(b"0\r\n\r\n"):
        text = await reader.read(1 << 18)
        if not text:
            raise RuntimeError("the stream was broken off")
        if not created:
            first = sent
        text = rest + text
        created += text.count(b'"status":201')
        rest = text[-11:]  # shorter than what is counted
    await sending
    if created != lines:
        raise RuntimeError(f"{created} of {lines} lines were taken")
    writer.close()
    return {"seconds": time.perf_counter() - began, "sent_before_first_receipt": first}


if __name__ == "__main__":
    port, lines, line = sys.argv[1:]
    seen = uvloop.run(send_lines(int(port), int(lines), line.encode()))
    sys.stdout.buffer.write(orjson.dumps(seen))
