"""
Every fault, in one registry: what it does, where it can be done, and whether it is an outage that may lose reports.

A fault is a function that begins it, lets it last, and heals it. It notes what dies; the runner notes when it was.
Kills are not outages: only the runs that died with a process may run again.
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
EVERYWHERE = ("single", "sentinel", "cluster")
KEEPING = ("always", "everysec", "no")


@dataclass(frozen=True, slots=True)
class Fault:
    name: str
    act: Act
    where: tuple[str, ...]
    fsync: tuple[str, ...]
    is_outage: bool

    def is_for(self, stage: Stage) -> bool:
        return stage.where in self.where and stage.fsync in self.fsync


FAULTS: dict[str, Fault] = {}


def fault(
    *where: str, is_outage: bool = False, fsync: tuple[str, ...] = (*KEEPING, "none"), is_there: bool = True
) -> Callable[[Act], Act]:
    """Register a fault under its function's name, for deployments *where* (all of them when none is named)."""

    def register(act: Act) -> Act:
        if is_there:
            FAULTS[act.__name__] = Fault(act.__name__, act, where or EVERYWHERE, fsync, is_outage)
        return act

    return register


def last(chance: random.Random, least: float = 0.2, most: float = 2.0) -> None:
    """Let a fault last for a while."""
    time.sleep(chance.uniform(least, most))


# ---------------------------------------------------------------- processes of ours


@fault()
def worker_killed(stage: Stage, chance: random.Random) -> None:
    name = chance.choice(WORKERS)
    stage.kill(name)
    last(chance)
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
    last(chance)
    stage.start("web")
    stage.until_ready("web")


@fault()
def api_paused(stage: Stage, chance: random.Random) -> None:
    stage.pause(stage.family("web"), "web paused", chance.uniform(0.5, 3))


@fault()
def scheduler_killed(stage: Stage, chance: random.Random) -> None:
    name = chance.choice(SCHEDULERS)
    stage.kill(name)
    last(chance)
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
    last(chance, 1, 4)
    stage.clock.write_text("+0s\n")


@fault()
def clients_hung_up(stage: Stage, chance: random.Random) -> None:
    """Thousands, who connect, say a little, and are gone."""
    for _ in range(2000):
        try:
            with socket.create_connection((HOST, stage.port), 2) as one:
                one.send(b"POST /v1/tasks HTTP/1.1\r\ncontent-length: 100\r\n\r\n{"[: chance.randint(0, 60)])
        except OSError:
            pass


# ---------------------------------------------------------------- Redis


@fault("single", is_outage=True, fsync=("always", "no"))
def redis_killed(stage: Stage, chance: random.Random) -> None:
    """What it had written is with the kernel, and nothing is lost."""
    stage.redis.kill()
    last(chance)
    stage.redis.restart()


@fault("single", is_outage=True)
def redis_paused(stage: Stage, chance: random.Random) -> None:
    """It hangs: connections stay open, and nothing is answered."""
    stage.redis.pause()
    last(chance, 0.5, 6)
    stage.redis.resume()


@fault("single", fsync=("everysec",))
def redis_killed_everysec(stage: Stage, chance: random.Random) -> None:
    """A write may have waited for the one on its way to disk: up to two seconds may be lost."""
    note_loss(stage, "redis_killed_everysec", time.monotonic() - 2)
    stage.redis.kill()
    last(chance)
    stage.redis.restart()
    stage.history.note("healed", name="redis_killed_everysec")


@fault("single", fsync=("everysec", "no"))
def power_cut(stage: Stage, chance: random.Random) -> None:
    """Its machine dies: what was not on disk is gone, here the end of the append-only file."""
    [file] = (stage.redis.folder / "appendonlydir").glob("*.incr.aof")
    size, began = file.stat().st_size, time.monotonic()
    time.sleep(chance.uniform(0.1, 1))
    note_loss(stage, "power_cut", began - 2)
    stage.redis.kill()
    with file.open("r+b") as opened:
        # Not at the end of a command: half of one is what a disk has, too.
        opened.truncate(size)
    last(chance, 0.1, 1)
    stage.redis.restart()
    stage.history.note("healed", name="power_cut")


@fault("single", fsync=("none",))
def redis_emptied(stage: Stage, chance: random.Random) -> None:
    """It keeps nothing: everything is lost, and nothing of ours needs a restart."""
    note_loss(stage, "redis_emptied", 0.0)
    stage.redis.kill()
    last(chance)
    stage.redis.restart()
    stage.history.note("healed", name="redis_emptied")


def note_loss(stage: Stage, name: str, since: float) -> None:
    """An outage from now on, that takes along what came after *since*."""
    stage.history.note("fault", name=name, more={"since": since})


@fault("single", is_outage=True)
def memory_full(stage: Stage, chance: random.Random) -> None:
    """Submissions are refused; what is there is done."""
    admin = stage.redis.admin
    admin.config_set("maxmemory", int(admin.info("memory")["used_memory"]) + 20_000)
    last(chance, 0.5, 3)
    admin.config_set("maxmemory", 0)


@fault("single", is_outage=True, fsync=("everysec", "no"))
def disk_full(stage: Stage, chance: random.Random) -> None:
    """The append-only file cannot grow, and Redis refuses every write until it can."""
    process = stage.redis.process
    assert process is not None
    [file] = (stage.redis.folder / "appendonlydir").glob("*.incr.aof")
    _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (file.stat().st_size + 2000, hard))
    last(chance, 1, 4)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))


# ---------------------------------------------------------------- the network between us and Redis


@fault("single", is_outage=True)
def replies_lost(stage: Stage, chance: random.Random) -> None:
    """What is asked is done, and nobody hears of it."""
    stage.proxy.set(proxy.LOSE)
    last(chance)
    stage.proxy.set(proxy.PASS)


@fault("single", is_outage=True)
def replies_delayed(stage: Stage, chance: random.Random) -> None:
    stage.proxy.set(proxy.DELAY, chance.choice((0.05, 0.5, 2)))
    last(chance, 0.5, 3)
    stage.proxy.set(proxy.PASS)


@fault("single", is_outage=True)
def replies_cut(stage: Stage, chance: random.Random) -> None:
    """Half of each answer arrives, then the connection ends."""
    stage.proxy.set(proxy.CUT)
    last(chance)
    stage.proxy.set(proxy.PASS)


# ---------------------------------------------------------------- several servers


@fault("sentinel")
def failed_over(stage: Stage, chance: random.Random) -> None:
    """The master dies and the replica takes over; what that had not received is lost."""
    assert stage.sentinels is not None
    old = stage.sentinels.master
    note_loss(stage, "failed_over", time.monotonic() - 1)
    old.kill()
    until(lambda: stage.sentinels.master is not old, "another master is named")  # type: ignore[union-attr]
    until(lambda: stage.redis.admin.info("replication")["role"] == "master", "the new master knows its role")
    old.restart()
    until(lambda: old.admin.info("replication")["role"] == "slave", "the old master follows")
    until(lambda: old.admin.info("replication")["master_link_status"] == "up", "the old master has caught up")
    stage.history.note("healed", name="failed_over")


@fault("cluster", is_outage=True, fsync=("always", "no"))
def node_killed(stage: Stage, chance: random.Random) -> None:
    """Its shards are away, and the others go on."""
    assert stage.cluster is not None
    node = chance.choice(stage.cluster.nodes)
    node.kill()
    last(chance, 0.5, 4)
    node.restart()
    until(lambda: node.admin.execute_command("CLUSTER INFO")["cluster_state"] == "ok", "the cluster is whole")


@fault("cluster", is_outage=True)
def slot_migrated(stage: Stage, chance: random.Random) -> None:
    """All of a shard moves to another node, key by key, under load."""
    assert stage.cluster is not None
    migration = stage.cluster.migration(stage.cluster.slot(f"tp:{{{chance.randint(0, 15)}}}:conf"))
    migration.begin()
    for _ in range(5):
        migration.move(20)
        time.sleep(0.05)
    migration.finish()
