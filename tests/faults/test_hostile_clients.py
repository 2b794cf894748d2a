"""
A process of the API among thousands of hostile connections: its memory stays within bounds, others are served all the
time, and in the end nobody is left.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from service.api.web import raise_file_limit
from tests import servers
from tests.api.test_web import Web, web
from tests.servers import until

pytestmark = pytest.mark.full
IDLE, DRIPPING, BODIES = 2000, 300, 200
MIB = 1 << 20
HEAD = b"POST /v1/tasks HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
STREAM = b"POST /v1/tasks/stream HTTP/1.1\r\nHost: a\r\n" + CHUNKED
BLOCK = b"10000\r\n" + b"x" * 65_536 + b"\r\n"


@pytest.fixture(scope="module")
def attacked() -> Iterator[Web]:
    """An API that gives nobody more than a few seconds."""
    raise_file_limit()
    limits = {"head_timeout_seconds": 4, "body_timeout_seconds": 4, "unread_timeout_seconds": 4}
    with servers.single("valkey") as server, web(server.url, accept_unknown_handlers=1, **limits) as running:
        yield running


def resident_mib(api: Web, what: str = "VmRSS") -> float:
    status = Path(f"/proc/{api.process.pid}/status").read_text()
    return int(status.partition(f"{what}:")[2].split()[0]) / 1024


def is_served(api: Web) -> bool:
    """Whether a client that behaves gets a task in; it says it again when its connection was thought to be slow."""
    with contextlib.suppress(httpx.TransportError):
        return api.http.post("/v1/tasks", json={"url": "http://a.example", "delay_seconds": 600}).status_code == 201
    return False


def begin(sock: socket.socket, data: bytes) -> None:
    """Send *data*, unless this took us so long that we were given up."""
    with contextlib.suppress(OSError):
        sock.sendall(data)


def send_blocks(sock: socket.socket, block: bytes) -> int:
    """Send *block* again and again, until the other end takes no more or has taken 64 MiB; how much it took."""
    taken = 0
    with contextlib.suppress(OSError):
        while taken < 64 * MIB:
            sock.sendall(block)
            taken += len(block)
    return taken


@contextlib.contextmanager
def connected(api: Web, many: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        address = ("127.0.0.1", api.port)
        yield [stack.enter_context(socket.create_connection(address, timeout=60)) for _ in range(many)]


def has_ended(sock: socket.socket) -> bool:
    """True, as soon as the other end has closed."""
    try:
        while sock.recv(65_536):
            pass
    except ConnectionError:
        pass
    return True


def test_thousands_of_idle_and_dripping_connections_cost_little(attacked: Web) -> None:
    """Two thousand that say nothing, and some hundreds that begin a head or a body and leave it; then all are gone."""
    until(lambda: is_served(attacked), "a client is served")
    before = resident_mib(attacked)
    with connected(attacked, IDLE + DRIPPING + BODIES) as those:
        for one in those[IDLE:-BODIES]:
            begin(one, b"GET /v1/queues HTTP/1.1\r\nX: " + b"y" * 8000)
        for one in those[-BODIES:]:
            begin(one, HEAD + b"Content-Length: 1048576\r\n\r\n" + b" " * 60_000)
        until(lambda: is_served(attacked), "a client is served beside them")
        grown = resident_mib(attacked) - before
        assert grown < 200, f"{grown:.0f} MiB for {IDLE + DRIPPING + BODIES} connections"
        assert all(map(has_ended, those))


ENDLESS = {
    "content-length": (HEAD + b"Content-Length: 99999999999\r\n\r\n", b" " * 65_536),
    "chunks": (HEAD + CHUNKED, BLOCK),
    "gzip": (HEAD + b"Content-Encoding: gzip\r\n" + CHUNKED, BLOCK),
    "unread": (b"GET /livez HTTP/1.1\r\nHost: a\r\n" + CHUNKED, BLOCK),
    "stream of one line": (STREAM, BLOCK),
}


def test_bodies_without_end_take_no_memory(attacked: Web) -> None:
    """As fast as they go, four of each kind; a stream of one line may be as long as it likes, and is thrown away."""
    until(lambda: is_served(attacked), "a client is served")
    before = resident_mib(attacked)
    blocks = [ENDLESS[kind] for kind in ENDLESS for _ in range(4)]
    with connected(attacked, len(blocks)) as those, ThreadPoolExecutor(len(blocks)) as threads:
        for one, (head, _) in zip(those, blocks, strict=True):
            begin(one, head)
        sending = [threads.submit(send_blocks, one, block) for one, (_, block) in zip(those, blocks, strict=True)]
        until(lambda: is_served(attacked), "a client is served beside them")
        taken = sum(one.result() for one in sending)
        grown = resident_mib(attacked) - before
        assert grown < 100, f"{grown:.0f} MiB after {taken / MIB:.0f} MiB were sent"
        assert all(has_ended(one) for one, (head, _) in zip(those, blocks, strict=True) if head != STREAM)
