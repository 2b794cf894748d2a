"""
Real Redis and Valkey servers for tests: one, a cluster, a master watched by sentinels.

Each server is a process on free loopback ports with a temporary folder of its own; it ends with the object
that holds it, and with the test process, however that one ends. Nothing here knows Taskpost's keys.
The fact to know: a server may be killed, paused and restarted in place, and keeps its ports, so that a client
under test meets it again under the same address.
"""

from __future__ import annotations

import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.children import bind_to_parent
from service.embedded import valkey_binary

HOST = "127.0.0.1"
SLOTS = 16_384
DEADLINE_SECONDS = 60.0
ONCE = Retry(NoBackoff(), 0)


def binary(kind: str) -> str:
    """The server program of *kind*: `valkey` is packaged, `redis` is the system's."""
    if kind == "valkey":
        return str(valkey_binary())
    found = shutil.which("redis-server")
    if found is None:
        raise RuntimeError(
            "redis-server is not on the PATH: install it (Debian: apt-get install redis-server)"
        )
    return found


def free_port() -> int:
    """A port nobody listens on, below the range from which outgoing connections take theirs."""
    while True:
        port = random.randint(10_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port


def until(claim: Callable[[], Any], what: str) -> Any:
    """The first true answer of *claim*; a connection refused or lost counts as not yet."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        try:
            if answer := claim():
                return answer
        except redis.RedisError:
            pass
        time.sleep(0.02)
    raise TimeoutError(f"{what} did not come true within {DEADLINE_SECONDS:g} s")


class Server:
    """One server process. *config* names directives with underscores: `Server("redis", maxmemory="3mb")`."""

    def __init__(self, kind: str, *, sentinel: bool = False, **config: str | int) -> None:
        self.kind = kind
        self.folder = Path(tempfile.mkdtemp(prefix="taskpost-test-"))
        self.program = [binary(kind), str(self.folder / "server.conf"), *(["--sentinel"] if sentinel else [])]
        self.config: dict[str, str | int] = {} if sentinel else {"save": '""', "appendonly": "no"}
        self.config |= {name.replace("_", "-"): value for name, value in config.items()}
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self._admin: redis.Redis | None = None

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    @property
    def admin(self) -> redis.Redis:
        """A synchronous client of this one server, for looking and for arranging."""
        if self._admin is None:
            self._admin = redis.Redis(HOST, self.port, decode_responses=True, socket_timeout=5, retry=ONCE)
        return self._admin

    def start(self) -> Server:
        """Start on free ports and wait until it answers."""
        for _ in range(10):
            self.port = free_port()
            lines = {"bind": HOST, "port": self.port, "dir": self.folder, **self.config}
            if "cluster-enabled" in lines:
                lines["cluster-port"] = free_port()
            text = "".join(f"{name} {value}\n" for name, value in lines.items())
            (self.folder / "server.conf").write_text(text)
            if self._run():
                return self
        raise RuntimeError(f"{self.program[0]} found no free port:\n{self.log()}")

    def restart(self) -> None:
        """Start again, after `kill` or `stop`, on the same ports and data."""
        assert self.process is None, "restart needs kill() or stop() first"
        if not self._run():
            raise RuntimeError(f"the port {self.port} was taken meanwhile:\n{self.log()}")

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order; with `appendonly="yes"` everything is on disk."""
        self.resume()
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Stop the process in place: connections stay open and nothing is answered."""
        self._held().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._held().send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill the process if it runs, and remove its folder."""
        if self.process is not None:
            self.kill()
        if self._admin is not None:
            self._admin.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """What the server printed, its last lines."""
        return "\n".join((self.folder / "log").read_text(errors="replace").splitlines()[-20:])

    def _held(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, "the server does not run"
        return self.process

    def _end(self, sent: signal.Signals) -> None:
        process = self._held()
        process.send_signal(sent)
        process.wait(DEADLINE_SECONDS)
        self.process = None

    def _run(self) -> bool:
        """True once the server answers, False when its port is taken."""
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                self.program, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=bind_to_parent(),
                restore_signals=False,  # a write beyond a limit of file size is an error then, as on a full disk
            )  # fmt: skip
        process = self.process
        until(
            lambda: process.poll() is not None or self.admin.ping(),
            f"{self.kind} on port {self.port} answers",
        )
        if process.poll() is None:
            return True
        self.process, self._admin = None, None
        if "in use" in self.log():
            return False
        raise RuntimeError(f"{self.program[0]} ended at its start:\n{self.log()}")


class Migration:
    """One slot on its way from its owner to another node; a test can act between the steps."""

    def __init__(self, cluster: Cluster, slot: int, target: Server) -> None:
        self.cluster, self.slot = cluster, slot
        self.source, self.target = cluster.owner(slot), target

    def begin(self) -> None:
        """From here on the source answers ASK for keys of the slot that it does not hold."""
        source_id, target_id = node_id(self.source), node_id(self.target)
        self.target.admin.execute_command("CLUSTER SETSLOT", self.slot, "IMPORTING", source_id)
        self.source.admin.execute_command("CLUSTER SETSLOT", self.slot, "MIGRATING", target_id)

    def move(self, most: int = SLOTS) -> int:
        """Move up to *most* keys; how many were moved."""
        with redis.Redis(HOST, self.source.port, socket_timeout=30, retry=ONCE) as source:
            source.response_callbacks.pop("CLUSTER GETKEYSINSLOT", None)  # it makes text of keys, which are bytes
            keys = source.execute_command("CLUSTER GETKEYSINSLOT", self.slot, most)
            if keys:
                source.execute_command("MIGRATE", HOST, self.target.port, "", 0, 30_000, "KEYS", *keys)
        return len(keys)

    def finish(self) -> None:
        """Move what is left and make the target the owner; every node knows at return."""
        while self.move():
            pass
        others = [one for one in self.cluster.nodes if one not in (self.source, self.target)]
        for node in (self.target, self.source, *others):
            node.admin.execute_command("CLUSTER SETSLOT", self.slot, "NODE", node_id(self.target))


class Cluster:
    """Masters without replicas, the slots dealt out evenly in order."""

    def __init__(self, nodes: list[Server]) -> None:
        self.nodes = nodes

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"{HOST}:{node.port}" for node in self.nodes)

    def slot(self, key: str) -> int:
        return int(self.nodes[0].admin.execute_command("CLUSTER KEYSLOT", key))

    def owner(self, slot: int) -> Server:
        """The node that serves *slot*, as the first node sees it."""
        rows = self.nodes[0].admin.execute_command("CLUSTER SLOTS")
        port = next(master[1] for start, end, master, *_ in rows if start <= slot <= end)
        return next(node for node in self.nodes if node.port == port)

    def migration(self, slot: int, target: Server | None = None) -> Migration:
        """A migration of *slot*, not yet begun, to *target* or to any node that is not its owner."""
        owner = self.owner(slot)
        return Migration(self, slot, target or next(node for node in self.nodes if node is not owner))

    def flush(self) -> None:
        for node in self.nodes:
            node.admin.flushall()

    def form(self) -> None:
        """Deal the slots, introduce the nodes to each other, wait until all agree."""
        first = self.nodes[0]
        for index, node in enumerate(self.nodes):
            start, end = (SLOTS * part // len(self.nodes) for part in (index, index + 1))
            node.admin.execute_command("CLUSTER ADDSLOTSRANGE", start, end - 1)
            node.admin.execute_command("CLUSTER SET-CONFIG-EPOCH", index + 1)
            bus_port = node.admin.config_get("cluster-port")["cluster-port"]
            if node is not first:
                first.admin.execute_command("CLUSTER MEET", HOST, node.port, bus_port)
        for node in self.nodes:
            until(lambda node=node: self._is_whole(node), f"the cluster seen by port {node.port} is whole")

    def _is_whole(self, node: Server) -> bool:
        seen = node.admin.execute_command("CLUSTER INFO")
        return (
            seen["cluster_state"] == "ok"
            and int(seen["cluster_known_nodes"]) == len(self.nodes)
            and int(seen["cluster_slots_ok"]) == SLOTS
        )


class Sentinels:
    """A master and a replica, watched by sentinels under the name `taskpost`."""

    name = "taskpost"

    def __init__(self, pair: list[Server], watchers: list[Server]) -> None:
        self.pair, self.watchers = pair, watchers

    @property
    def url(self) -> str:
        addresses = ",".join(f"{HOST}:{one.port}" for one in self.watchers)
        return f"redis+sentinel://{addresses}/{self.name}/0"

    @property
    def master(self) -> Server:
        """The server that the first sentinel calls the master now."""
        address = self.watchers[0].admin.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", self.name)
        return next(server for server in self.pair if server.port == int(address[1]))

    def fail_over(self) -> None:
        """Make the replica the master, as after a loss of the master, and wait for it."""
        old = self.master
        self.watchers[0].admin.execute_command("SENTINEL FAILOVER", self.name)
        until(lambda: self.master is not old, "another master is named")
        until(
            lambda: self.master.admin.info("replication")["role"] == "master", "the new master knows its role"
        )

    def settle(self) -> None:
        """Wait until the replica follows and every sentinel knows the replica and the other sentinels."""
        until(lambda: self.pair[1].admin.info("replication")["master_link_status"] == "up", "replica follows")
        for one in self.watchers:
            until(lambda one=one: self._knows_all(one), f"sentinel {one.port} knows the others")

    def _knows_all(self, watcher: Server) -> bool:
        replicas = watcher.admin.execute_command("SENTINEL REPLICAS", self.name)
        others = watcher.admin.execute_command("SENTINEL SENTINELS", self.name)
        return len(replicas) == 1 and len(others) == len(self.watchers) - 1


@contextmanager
def single(kind: str, **config: str | int) -> Iterator[Server]:
    """One server, without persistence unless *config* says so."""
    server = Server(kind, **config)
    try:
        yield server.start()
    finally:
        server.close()


@contextmanager
def cluster(kind: str, nodes: int = 3, **config: str | int) -> Iterator[Cluster]:
    """A whole cluster of *nodes* masters."""
    config = {"cluster_enabled": "yes", "cluster_node_timeout": 5000, **config}
    with ExitStack() as stack:
        formed = Cluster([stack.enter_context(single(kind, **config)) for _ in range(nodes)])
        formed.form()
        yield formed


@contextmanager
def sentinel(kind: str, watchers: int = 1, **config: str | int) -> Iterator[Sentinels]:
    """A master, a replica and *watchers* sentinels that fail over after a second of silence."""
    with ExitStack() as stack:
        master = stack.enter_context(single(kind, **config))
        replica = stack.enter_context(single(kind, **config, replicaof=f"{HOST} {master.port}"))
        watching = [Server(kind, sentinel=True, **watch_lines(master, watchers)) for _ in range(watchers)]
        for one in watching:
            stack.callback(one.close)
            one.start()
        setting = Sentinels([master, replica], watching)
        setting.settle()
        yield setting


def watch_lines(master: Server, watchers: int) -> dict[str, str | int]:
    """The directives of a sentinel; a majority of *watchers* decides."""
    name = Sentinels.name
    return {
        "sentinel monitor": f"{name} {HOST} {master.port} {watchers // 2 + 1}",
        "sentinel down-after-milliseconds": f"{name} 1000",
        "sentinel failover-timeout": f"{name} 10000",
    }


def node_id(node: Server) -> str:
    return str(node.admin.execute_command("CLUSTER MYID"))
