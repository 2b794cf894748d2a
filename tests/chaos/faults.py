"""
Every fault, in one registry: what it does, where it can be done, and what it may cost.

A fault is a function that begins it, lets it last, and heals it. It notes what dies; the runner notes when it was.
Kills of our processes are not outages: only the runs that died with one may run again. An outage says from when on
changes may be lost with it, by the table of docs/guarantees.md.
"""

from __future__ import annotations

import random
import resource
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos import proxy
from tests.chaos.stage import LEASE_SECONDS, SCHEDULERS, WORKERS, Stage
from tests.faults.acting import FAKETIME, descendants
from tests.servers import HOST, until

Act = Callable[[Stage, random.Random], None]
Loss = Callable[[Stage], float | None]
EVERYWHERE = ("single", "sentinel", "cluster")
WRITING = ("always", "everysec", "no")
EVERY_WAY = (*WRITING, "snapshots", "none")


@dataclass(frozen=True, slots=True)
class Fault:
    """*loss* answers from when on changes may be lost, None for none; a fault that is no outage has none."""

    name: str
    act: Act
    where: tuple[str, ...]
    fsync: tuple[str, ...]
    loss: Loss | None

    def is_for(self, stage: Stage) -> bool:
        return stage.where in self.where and stage.fsync in self.fsync


FAULTS: dict[str, Fault] = {}


def fault(
    *where: str, loss: Loss | None = None, fsync: tuple[str, ...] = EVERY_WAY, is_there: bool = True
) -> Callable[[Act], Act]:
    """Register a fault under its function's name, for deployments *where* (all of them when none is named)."""

    def register(act: Act) -> Act:
        if is_there:
            FAULTS[act.__name__] = Fault(act.__name__, act, where or EVERYWHERE, fsync, loss)
        return act

    return register


def nothing(stage: Stage) -> None:
    """Everything that was answered is kept."""


def unwritten(stage: Stage) -> float | None:
    """What a process of Redis takes along that dies now: see docs/guarantees.md."""
    now = time.monotonic()
    if stage.fsync == "everysec":
        return now - 2  # a write waits as long at the most for the one that is on its way to disk
    if stage.fsync == "snapshots":
        return now - (time.time() - stage.redis.admin.lastsave().timestamp()) - 2
    return 0.0 if stage.fsync == "none" else None


def seconds(many: float) -> Loss:
    """The last so many seconds."""
    return lambda stage: time.monotonic() - many


def last(stage: Stage, chance: random.Random, least: float = 0.2, most: float = 2.0) -> None:
    """Let a fault last for a while; now and then, another one comes on top."""
    time.sleep(chance.uniform(least, most) / 2)
    if chance.random() < 0.25:
        chance.choice((worker_process_killed, executor_killed))(stage, chance)
    time.sleep(chance.uniform(least, most) / 2)


# ---------------------------------------------------------------- processes of ours


@fault()
def worker_killed(stage: Stage, chance: random.Random) -> None:
    name = chance.choice(WORKERS)
    stage.kill(name)
    last(stage, chance)
    stage.start(name)
    stage.until_ready(name)


@fault()
def worker_process_killed(stage: Stage, chance: random.Random) -> None:
    """Its parent lives."""
    children = stage.parts[chance.choice(WORKERS)].children()
    if children:
        stage.kill_one(chance.choice(children), "process killed")


@fault()
def executor_killed(stage: Stage, chance: random.Random) -> None:
    """A child process that runs `def` handlers."""
    below = [pid for name in WORKERS for child in stage.parts[name].children() for pid in descendants(child)[1:]]
    if below:
        stage.kill_one(chance.choice(below), "executor killed")


@fault()
def worker_paused(stage: Stage, chance: random.Random) -> None:
    """As a whole, at times for longer than its leases last."""
    stage.pause(stage.family(chance.choice(WORKERS)), "worker paused", chance.choice((0.5, 1, LEASE_SECONDS + 3)))


@fault()
def worker_process_paused(stage: Stage, chance: random.Random) -> None:
    """Its parent goes on, and may well kill it."""
    children = stage.parts[chance.choice(WORKERS)].children()
    if children:
        child = chance.choice(children)
        stage.pause([child, *descendants(child)], "process paused", chance.choice((0.5, 3)))


@fault()
def worker_parent_paused(stage: Stage, chance: random.Random) -> None:
    """Its processes go on, and send their heartbeats themselves."""
    stage.pause([stage.parts[chance.choice(WORKERS)].pid], "worker paused", chance.choice((0.5, LEASE_SECONDS + 3)))


@fault()
def api_killed(stage: Stage, chance: random.Random) -> None:
    stage.kill("web")
    last(stage, chance)
    stage.start("web")
    stage.until_ready("web")


@fault()
def api_paused(stage: Stage, chance: random.Random) -> None:
    stage.pause(stage.family("web"), "web paused", chance.uniform(0.5, 3))


@fault()
def scheduler_killed(stage: Stage, chance: random.Random) -> None:
    name = chance.choice(SCHEDULERS)
    stage.kill(name)
    last(stage, chance)
    stage.start(name)
    stage.until_ready(name)


@fault()
def scheduler_paused(stage: Stage, chance: random.Random) -> None:
    stage.pause(stage.family(chance.choice(SCHEDULERS)), "scheduler paused", chance.uniform(0.5, LEASE_SECONDS))


@fault()
def rolling_restart(stage: Stage, chance: random.Random) -> None:
    """A deploy under load: one part after the other is asked to stop, and started again."""
    for name in chance.sample(list(stage.parts), 3):
        status = stage.stop(name)
        if status != 0:
            stage.history.note("refused", how=f"{name} was asked to stop, and ended with status {status}")
        stage.start(name)
        stage.until_ready(name)


@fault(is_there=FAKETIME is not None)
def clock_jumped(stage: Stage, chance: random.Random) -> None:
    """One worker's and one scheduler's, an hour or a minute forth or back; Redis' clock alone counts."""
    stage.clock.write_text(f"{chance.choice((-3600, -60, 60, 3600)):+d}s\n")
    last(stage, chance, 1, 4)
    stage.clock.write_text("+0s\n")


@fault()
def clients_hung_up(stage: Stage, chance: random.Random) -> None:
    """Ten thousand, who connect, say a little, and are gone."""
    for _ in range(10_000):
        try:
            with socket.create_connection((HOST, stage.port), 2) as one:
                one.send(b"POST /v1/tasks HTTP/1.1\r\ncontent-length: 100\r\n\r\n{"[: chance.randint(0, 60)])
        except OSError:
            pass


# ---------------------------------------------------------------- Redis


@fault("single", loss=unwritten)
def redis_killed(stage: Stage, chance: random.Random) -> None:
    stage.redis.kill()
    last(stage, chance)
    stage.redis.restart()


@fault("single", loss=nothing)
def redis_paused(stage: Stage, chance: random.Random) -> None:
    """It hangs: connections stay open, and nothing is answered."""
    stage.redis.pause()
    last(stage, chance, 0.5, 6)
    stage.redis.resume()


@fault("single", loss=seconds(2), fsync=("everysec", "no"))
def power_cut(stage: Stage, chance: random.Random) -> None:
    """
    Its machine dies: what was not on disk is gone, here what came to the append-only file in the last second. It writes
    nothing to disk in that second, so it confirms nothing that is cut off either.
    """
    [file] = (stage.redis.folder / "appendonlydir").glob("*.incr.aof")
    stage.redis.admin.config_set("appendfsync", "no")
    size = file.stat().st_size
    time.sleep(chance.uniform(0.1, 1))
    stage.redis.kill()
    with file.open("r+b") as opened:
        opened.truncate(size)  # maybe in the middle of a command, as on a disk
    last(stage, chance, 0.1, 1)
    stage.redis.restart()


@fault("single", loss=nothing)
def memory_full(stage: Stage, chance: random.Random) -> None:
    """Submissions are refused; what is there is done."""
    admin = stage.redis.admin
    admin.config_set("maxmemory", int(admin.info("memory")["used_memory"]) + 20_000)
    last(stage, chance, 0.5, 3)
    admin.config_set("maxmemory", 0)


@fault("single", loss=nothing, fsync=("everysec", "no"))
def disk_full(stage: Stage, chance: random.Random) -> None:
    """The append-only file cannot grow, and Redis refuses every write until it can."""
    process = stage.redis.process
    assert process is not None
    [file] = (stage.redis.folder / "appendonlydir").glob("*.incr.aof")
    _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (file.stat().st_size + 2000, hard))
    last(stage, chance, 1, 4)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))


# ---------------------------------------------------------------- the network between us and Redis


@fault("single", loss=nothing)
def replies_lost(stage: Stage, chance: random.Random) -> None:
    """What is asked is done, and nobody hears of it."""
    stage.proxy.set(proxy.LOSE)
    last(stage, chance)
    stage.proxy.set(proxy.PASS)


@fault("single", loss=nothing)
def replies_delayed(stage: Stage, chance: random.Random) -> None:
    stage.proxy.set(proxy.DELAY, chance.choice((0.05, 0.5, 2)))
    last(stage, chance, 0.5, 3)
    stage.proxy.set(proxy.PASS)


@fault("single", loss=nothing)
def replies_cut(stage: Stage, chance: random.Random) -> None:
    """Half of each answer arrives, then the connection ends."""
    stage.proxy.set(proxy.CUT)
    last(stage, chance)
    stage.proxy.set(proxy.PASS)


# ---------------------------------------------------------------- several servers


@fault("sentinel", loss=seconds(1))
def failed_over(stage: Stage, chance: random.Random) -> None:
    """The master dies and the replica takes over; what that had not received is lost."""
    sentinels = stage.sentinels
    assert sentinels is not None
    old = sentinels.master
    old.kill()
    until(lambda: sentinels.master is not old, "another master is named")
    until(lambda: stage.redis.admin.info("replication")["role"] == "master", "the new master knows its role")
    old.restart()
    until(lambda: old.admin.info("replication")["role"] == "slave", "the old master follows")
    until(lambda: old.admin.info("replication")["master_link_status"] == "up", "the old master has caught up")


@fault("cluster", loss=unwritten)
def node_killed(stage: Stage, chance: random.Random) -> None:
    """Its shards are away, and the others go on."""
    assert stage.cluster is not None
    node = chance.choice(stage.cluster.nodes)
    node.kill()
    last(stage, chance, 0.5, 4)
    node.restart()
    until(lambda: node.admin.execute_command("CLUSTER INFO")["cluster_state"] == "ok", "the cluster is whole")


@fault("cluster", loss=nothing)
def slot_migrated(stage: Stage, chance: random.Random) -> None:
    """All of a shard moves to another node, key by key, under load."""
    assert stage.cluster is not None
    migration = stage.cluster.migration(stage.cluster.slot(f"tp:{{{chance.randint(0, 15)}}}:conf"))
    migration.begin()
    for _ in range(5):
        migration.move(20)
        time.sleep(0.05)
    migration.finish()
