"""
Following what happens: 2,000 clients of one process of the API, what they cost it, and how soon they are told.

Half of them follow everything that a filter lets through, half one task each, as visitors do. The clients are plain
sockets in this process, which looks for the time of each event that it reads; all clocks are this machine's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import orjson

from benchmarks import machine
from benchmarks.figures import Figure, Goal, percentile
from benchmarks.scale import Scale
from benchmarks.system import HOST, MEMORY, System, system

FEW_AT_ONCE = 50
SUBMISSION = b'{"name":"demo.add","args":{"a":2,"b":3},"tags":["watched"],"delay_seconds":1000}'
NOTED = b'data: {"id":"'


class Client(asyncio.Protocol):
    """One client: notes when each event came, and how long it was on its way."""

    def __init__(self, path: str, delays_ms: list[float]) -> None:
        self.path, self.delays_ms = path, delays_ms
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.events = 0
        self.rest = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(f"GET {self.path} HTTP/1.1\r\nhost: bench\r\n\r\n".encode())

    def data_received(self, some: bytes) -> None:
        if not self.begun.done():
            if b"HTTP/1.1 200" not in some:
                self.begun.set_exception(RuntimeError(f"{self.path}: {some[:200]!r}"))
                return
            self.begun.set_result(None)
            return
        now_ms = time.time() * 1000
        *lines, self.rest = (self.rest + some).split(b"\n")
        for line in lines:
            if line.startswith(NOTED):
                self.events += 1
                at = orjson.loads(line[6:])["at"]
                self.delays_ms.append(now_ms - ms_of(at))


def ms_of(at: str) -> float:
    seconds = time.mktime(time.strptime(at[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    return seconds * 1000 + int(at[20:23])


async def post(port: int, path: str, body: bytes) -> Any:
    """The JSON of an answer, once the API has reached its store."""
    head = f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\nconnection: close\r\n"
    answer = b"HTTP/1.1 503"
    while answer.startswith(b"HTTP/1.1 503"):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.read()
        writer.close()
    if not answer.startswith(b"HTTP/1.1 20"):
        raise RuntimeError(f"{path}: {answer[:1000]!r}")
    return orjson.loads(answer.partition(b"\r\n\r\n")[2])


async def connect(port: int, paths: list[str], delays_ms: list[float]) -> list[Client]:
    """A client for each of *paths*, each of which has begun."""
    clients: list[Client] = []
    loop = asyncio.get_running_loop()
    for at in range(0, len(paths), FEW_AT_ONCE):
        made = [
            (await loop.create_connection(lambda path=path: Client(path, delays_ms), HOST, port))[1]  # type: ignore[misc]
            for path in paths[at : at + FEW_AT_ONCE]
        ]
        await asyncio.gather(*(one.begun for one in made))
        clients += made
    return clients


async def follow(one: System, many: int, seconds: float, a_second: int) -> dict[str, float]:
    """What so many clients cost while *a_second* tasks a second are submitted."""
    pid = one.parts["web"].pid
    batch = b"[" + b",".join([SUBMISSION] * 50) + b"]"
    tasks = [receipt["task"]["id"] for receipt in await post(one.port, "/v1/tasks/batch", batch)]
    delays_ms: list[float] = []
    for client in await connect(one.port, ["/v1/events", f"/v1/tasks/{tasks[0]}/events"], delays_ms):
        client.transport.abort()  # what is loaded by the first ones is no later one's cost
    before_bytes = machine.rss_bytes(pid)
    paths = ["/v1/events?tag=watched"] * (many // 2)
    paths += [f"/v1/tasks/{tasks[n % len(tasks)]}/events" for n in range(many - many // 2)]
    clients = await connect(one.port, paths, delays_ms)
    grown_bytes = machine.rss_bytes(pid) - before_bytes
    idle_us, began = machine.cpu_us(pid), time.monotonic()
    await asyncio.sleep(max(seconds, 0.1))
    idle = (machine.cpu_us(pid) - idle_us) / (time.monotonic() - began) / 1e4
    delays_ms.clear()
    busy_us, server_us, began = machine.cpu_us(pid), one.server_cpu_us(), time.monotonic()
    sent = 0
    while time.monotonic() - began < seconds or not sent:
        await post(one.port, "/v1/tasks", SUBMISSION)
        sent += 1
        await asyncio.sleep(max(0.0, sent / a_second - (time.monotonic() - began)))
    expected = sent * (many // 2)
    while len(delays_ms) < expected and time.monotonic() - began < 60:
        await asyncio.sleep(0.01)
    took = time.monotonic() - began
    busy = (machine.cpu_us(pid) - busy_us) / took / 1e4
    server = (one.server_cpu_us() - server_us) / took / 1e4
    told = len(delays_ms)
    for client in clients:
        client.transport.abort()
    if told != expected:
        raise RuntimeError(f"{told} events were told, not {expected}")
    return {
        "bytes": grown_bytes / many, "idle": idle, "busy": busy, "server": server, "sent": told / took,
        "p50": percentile(delays_ms, 0.5), "p99": percentile(delays_ms, 0.99),
    }  # fmt: skip


def live(scale: Scale, kind: str) -> Iterator[Figure]:
    """Clients that follow: memory and processor time of the API, and how soon they are told."""
    rounds = []
    for _ in range(scale.rounds):
        with system(kind, MEMORY, "web") as one:
            where = one.where
            rounds.append(asyncio.run(follow(one, scale.following, scale.seconds, 10)))
    many = f"{scale.following:,} clients"

    def figure(name: str, unit: str, key: str, goal: Goal | None = None, divided: float = 1) -> Figure:
        return Figure(f"live: {many}, {name}", where, unit, [one[key] / divided for one in rounds], goal)

    yield figure("memory of the API for each", "KiB", "bytes", Goal(most=100), 1024)
    yield figure("processor time of the API while nothing happens", "%", "idle")
    yield figure("the same at 10 events a second for half of them", "%", "busy")
    yield figure("processor time of the server then", "%", "server")
    yield figure("events sent", "a second", "sent")
    yield figure("event to client, p50", "ms", "p50")
    yield figure("event to client, p99", "ms", "p99", Goal(most=1000))
