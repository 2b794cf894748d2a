"""
The load generator: many connections that each send one request after the other, in a process of its own.

`python -m benchmarks.load` reads what to do as JSON from standard input and prints what came of it as JSON. A request
is made once and written as it is; of an answer only status and length are looked at, so that a request costs this
process a fraction of what it costs any server (its own cost is in the answer).
"""

from __future__ import annotations

import asyncio
import gc
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

import orjson
import uvloop

from benchmarks.figures import percentile
from benchmarks.system import HOST, ROOT

WARM_SECONDS = 0.3
MOST_SECONDS = 120.0
LENGTH = b"content-length: "


@dataclass(slots=True)
class Load:
    """What to send: for *seconds*, or *most* requests."""

    port: int
    path: str
    body: str
    connections: int = 50
    seconds: float = 0.0
    most: int = 0


@dataclass(slots=True)
class Served:
    """What came of it. *a_second* is without the warm-up, *answers* with it."""

    a_second: float
    answers: int
    p50_ms: float
    p99_ms: float
    own_us: float  # processor time of the generator, a request


class Sender(asyncio.Protocol):
    """One connection; a request is under way until its answer is whole."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd, self.received = crowd, b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def send(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(self.crowd.request)

    def data_received(self, data: bytes) -> None:
        received = self.received + data if self.received else data
        head = received.find(b"\r\n\r\n")
        if head >= 0:
            at = received.find(LENGTH, 0, head) + len(LENGTH)
            if at < len(LENGTH):  # a server that writes headers in another way
                at = received.lower().index(LENGTH, 0, head) + len(LENGTH)
            if len(received) >= head + 4 + int(received[at : received.index(b"\r", at)]):
                self.received = b""
                self.crowd.note(self, received)
                return
        self.received = received

    def connection_lost(self, _: Exception | None) -> None:
        self.crowd.fail("the server closed a connection")


class Crowd:
    """All connections."""

    def __init__(self, load: Load) -> None:
        self.load = load
        body = load.body.encode()
        self.request = (
            f"POST {load.path} HTTP/1.1\r\nhost: {HOST}:{load.port}\r\nuser-agent: bench\r\naccept: */*\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        ).encode() + body
        self.started = self.answers = 0
        self.waits: list[float] = []
        self.is_over = False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def note(self, sender: Sender, answer: bytes) -> None:
        if answer[9:10] != b"2":
            self.fail(f"answered {answer[:600]!r}")
            return
        self.answers += 1
        self.waits.append(time.perf_counter() - sender.sent)
        if self.load.most and self.answers == self.load.most:
            self.is_over = True
            self.done.set_result(None)
        elif not self.is_over and (not self.load.most or self.started < self.load.most):
            self.started += 1
            sender.send()

    def fail(self, why: str) -> None:
        if not self.is_over:
            self.is_over = True
            self.done.set_exception(RuntimeError(f"POST {self.load.path}: {why}"))


async def send_all(load: Load) -> Served:
    """Send *load*. Raises RuntimeError for an answer that is no success."""
    crowd, loop = Crowd(load), asyncio.get_running_loop()
    pairs = [await loop.create_connection(lambda: Sender(crowd), HOST, load.port) for _ in range(load.connections)]
    began = time.perf_counter()
    for _, sender in pairs[: load.most or None]:
        crowd.started += 1
        sender.send()
    before = 0
    if not load.most:
        await asyncio.wait([crowd.done], timeout=min(WARM_SECONDS, load.seconds))
        began, before, crowd.waits = time.perf_counter(), crowd.answers, []
    await asyncio.wait([crowd.done], timeout=MOST_SECONDS if load.most else load.seconds)
    seconds, counted, waits = time.perf_counter() - began, crowd.answers - before, crowd.waits
    if crowd.done.done():
        crowd.done.result()
    elif load.most:
        raise RuntimeError(f"{crowd.answers} of {load.most} requests were answered in {MOST_SECONDS:g} s")
    crowd.is_over = True
    await asyncio.sleep(0.1 if not load.most else 0)  # what is under way is counted in `answers`
    used = resource.getrusage(resource.RUSAGE_SELF)
    own = (used.ru_utime + used.ru_stime) * 1e6 / max(crowd.answers, 1)
    return Served(
        counted / seconds, crowd.answers, percentile(waits, 0.5) * 1e3, percentile(waits, 0.99) * 1e3, own
    )


def run(load: Load) -> Served:
    """Send *load* from a process of its own. Raises RuntimeError when that fails; what it said is on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=orjson.dumps(asdict(load)), stdout=subprocess.PIPE, cwd=ROOT, timeout=MOST_SECONDS + 30, check=True,
    )  # fmt: skip
    return Served(**orjson.loads(done.stdout))


def main() -> None:
    load = Load(**orjson.loads(sys.stdin.buffer.read()))
    gc.freeze()
    gc.disable()  # it makes no cycles
    sys.stdout.buffer.write(orjson.dumps(asdict(uvloop.run(send_all(load)))))


if __name__ == "__main__":
    main()
