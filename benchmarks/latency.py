"""
Latency on an idle system: one task at a time, with a pause between, while API, worker and scheduler run.

The handler notes when it was started by the clock that this process uses too. The floor is a queue by hand: Starlette
and an awaited LPUSH, and a loop with BRPOP that does nothing but note the time.
"""

from __future__ import annotations

import random
import socket
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack

import orjson

from benchmarks.figures import Figure, Goal, percentile
from benchmarks.floors import STAMPS
from benchmarks.scale import Scale
from benchmarks.system import AOF, HOST, MEMORY, System, floor, system

STARTED = b'{"name":"bench.started"}'


class Caller:
    """One kept connection, blocking: nothing else happens in this process."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, method: str, path: str, body: bytes = b"", extra: bytes = b"") -> tuple[int, bytes]:
        """(when it was sent in ns, the answer's body)."""
        head = f"{method} {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
        head += f"content-length: {len(body)}\r\n"
        request = head.encode() + extra + b"\r\n" + body
        sent_ns = time.time_ns()
        self.socket.sendall(request)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self.socket.recv(65536)
        head_bytes, _, rest = received.partition(b"\r\n\r\n")
        length = int(head_bytes.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(rest) < length:
            rest += self.socket.recv(65536)
        if not head_bytes.startswith(b"HTTP/1.1 2"):
            raise RuntimeError(f"{method} {path}: {head_bytes!r} {rest[:500]!r}")
        return sent_ns, rest

    def close(self) -> None:
        self.socket.close()


def pause() -> None:
    """Long enough for everybody to be idle again, and never in step with anything."""
    time.sleep(0.004 + 0.008 * random.random())


def until_started(caller: Caller, exchanges: int) -> list[float]:
    """Request sent -> handler started, ms."""
    found = []
    for _ in range(exchanges):
        sent_ns, answer = caller.call("POST", "/v1/tasks", STARTED)
        task = orjson.loads(answer)
        task = orjson.loads(caller.call("GET", f"/v1/tasks/{task['id']}?wait=10")[1])
        found.append((task["result"] - sent_ns) / 1e6)
        pause()
    return found


def until_result(caller: Caller, exchanges: int) -> list[float]:
    """Request sent -> finished task received, ms."""
    found = []
    for _ in range(exchanges):
        sent_ns, answer = caller.call("POST", "/v1/tasks", STARTED, b"prefer: wait=10\r\n")
        found.append((time.time_ns() - sent_ns) / 1e6)
        if orjson.loads(answer)["state"] != "succeeded":
            raise RuntimeError(f"not finished: {answer!r}")
        pause()
    return found


def until_popped(one: System, caller: Caller, exchanges: int) -> list[float]:
    """Request sent -> taken off a list, ms."""
    one.server.admin.delete(STAMPS)
    sent = []
    for _ in range(exchanges):
        sent.append(caller.call("POST", "/v1/tasks", STARTED)[0])
        pause()
    stamps = [int(stamp) for stamp in one.server.admin.lrange(STAMPS, 0, -1)]
    return [(stamp - at) / 1e6 for at, stamp in zip(sent, stamps, strict=True)]


def latency(scale: Scale, kind: str) -> Iterator[Figure]:
    """Request -> start, and request -> result."""
    with ExitStack() as stack:
        ours = [stack.enter_context(system(kind, how, "web", "worker", "scheduler")) for how in (MEMORY, AOF)]
        callers = {}
        for one in ours:
            stack.enter_context(floor("pop", one.server.url))
            port, _ = stack.enter_context(floor("push", one.server.url))
            callers[one.where] = Caller(one.port), Caller(port)
            for caller in callers[one.where]:
                stack.callback(caller.close)
        found: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
        for turn in range(-1, scale.rounds):
            many = scale.exchanges if turn >= 0 else 5  # the first calls open connections and load scripts
            for one in ours:
                api, hand_made = callers[one.where]
                for name, values in (
                    ("start", until_started(api, many)),
                    ("result", until_result(api, many)),
                    ("popped", until_popped(one, hand_made, many)),
                ):
                    if turn >= 0:
                        found[name, one.where].append(values)
        for one in ours:
            yield from figures(one.where, found)


def figures(where: str, found: dict[tuple[str, str], list[list[float]]]) -> Iterator[Figure]:
    for part, most in ((0.5, 1.5), (0.99, 4.0)):
        named = f"p{part * 100:g}"
        rounds = {
            name: [percentile(values, part) for values in found[name, where]] for name in ("start", "result", "popped")
        }
        yield Figure(
            f"request -> handler started, {named}", where, "ms", rounds["start"], Goal(most=most), "LPUSH + BRPOP",
            rounds["popped"],
        )  # fmt: skip
        yield Figure(f"request -> result, {named}", where, "ms", rounds["result"])
