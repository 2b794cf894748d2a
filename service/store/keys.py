"""
Every key name in Redis, and nothing else.

All keys of a shard start with `tp:{<shard>}:`, so that a shard lives in one hash slot. Scripts build the
names that depend on a task or a queue from that prefix; their headers list which.

    conf                      hash    format and shards, written at the first start; the key that seals, see
                                      key_agreement.py; when the last reap ran, and until when none may take a lease
                                      away; how far sweeps have come
    none                      -       never exists: a slot that is moving then refuses a whole call, not half of it
    fence                     string  empty; written so that what was written before can be waited for, see fences.py
    t:<id>  o:<id>            string  record; outcome of a large one
    a:<id>  p:<id>            list, string   attempts other than a first that succeeded and logged nothing; progress
    c:<id>                    string  checkpoint of a task that has not ended: when, its number, JSON
    l:<id>                    list    the log of the attempt that runs; at its end it goes into that attempt's row of a:
    q:<queue>:<lane>:<prio>   list    ready entries, first in first out; a capital lane holds suspects, which run alone
    due:<queue>               zset    entries of delayed and retrying tasks, by due time; tickets of flow keys, by
                                      when their rate lets the next task start
    line:<home>:<group>:<flow>   list   ready entries of tasks with a group or a flow key (its hash, 16 bytes)
    lined:<queue>             zset    its lines, by name: lane, priority, F and the key's hash or -, group
    lines:<home>:<group>      zset    flow key of a line that may be taken from -> when its first task was made
    turn:<home>               zset    group with such lines -> its virtual time; '' is those without a group
    tied                      hash    <queue>:<lane> -> priorities in which there are such lines
    park:<flow>:<home>        zset    group whose line of that key is parked -> its virtual time then
    parks:<flow>              set     homes with parked lines of it
    flow:<flow>               hash    a flow key: its name, its limits, the state of its rate (tat), how many of its
                                      tasks have not ended (open), when it was last named (seen)
    hold:<flow>               set     the tasks of it that run
    flows                     zset    namespace/key, a zero byte and hash of each flow key of the shard
    groups:<queue>            hash    group -> how many of its tasks have not ended
    weights                   hash    <queue>:<group> -> its weight, where that is not 1
    count                     hash    q|s|r:<queue> -> how many tasks are queued, scheduled, running
    limits                    hash    queue -> what holds back its tasks in this shard, see limits.py; #queue -> its
                                      rate as a whole, where that is dealt to several shards (shard 0)
    lease                     zset    task -> deadline: the only truth for "running"
    ext                       hash    task that an endpoint holds -> how often that is to be heard from, by when next,
                                      and when it must be done; ms, 6 bytes each
    run                       hash    task -> token, attempt, crashes, flags, start, worker; from first lease to end
    sess:<session>            string  the last lease call of a session: sequence number, statuses, what it was given
    wake:<queue>:<lane>       zset    a marker that means "work now"; wake:@<worker> "look at your leases now";
                                      wake:@queues "there is a new queue"
    done  dead  exp           zset    ended tasks by time; failed ones; ended ones with a time to live of their own
    made  made:<opened>       zset, list   all tasks in order of creation, in buckets of runs of ids
    stat:<minutes>:<first>    hash    what was counted in so many minutes (1, 10, 60) from that one on: see tallies.py
    slow:<namespace>:<minute>   zset   the slowest attempts of a minute, by how long they ran, see slow.py (shard 0)
    told:<session>            string  number of the last call by which a worker process told of them (shard 0)
    idem:<hash>               string  idempotency key -> task, fingerprint; since when, while it is only reserved
    expiring                  zset    tasks that have not ended and expire, by from when on they may not start any more
    uniq:<hash>               string  unique key -> its task, how long it has it, until and since when; see claims.lua
    ev                        stream  transitions, one entry a script call
    worker:<id>  workers      string, zset   what a live worker says of itself (shard 0)
    doing:<worker>            string  the rest of it: its processes and tasks, for who looks at it alone (shard 0)
    ctl:<worker>              list    commands that it has not obeyed yet (shard 0)
    handlers                  hash    what workers published of their handlers (shard 0)
    gone                      zset    URLs that answered 410, with their namespace, by when (shard 0)
    s:<namespace>/<name>      string  a schedule, see schedule.py
    sh:<namespace>/<name>     list    what became of its last occurrences, the newest first
    sb:<namespace>/<name>     hash    id -> a backfill of it, see backfill.py; #id -> the definition that it goes by
                                      while it is under way
    app:<namespace>/<app>     hash    v:<version> -> its number by when it was first seen, # -> the last number;
                                      n:<name> of a schedule that it declares -> by which version (shard 0)
    sched  schedules          zset    active schedules, and backfills (namespace/name#id), by when they are due; all
                                      schedules by name. wake:@schedules: look again
    secrets                   hash    namespace -> what signs its call-outs, see secrets.py; # -> changes (shard 0)
    endpoints                 hash    namespace/endpoint -> its settings, see endpoints.py; # -> changes (shard 0)
    queues                    hash    namespace/queue -> its settings, see queue_settings.py; # -> changes (shard 0)
    calls  called             hash, zset   namespace/endpoint -> how its calls went, see calls.lua; by when (shard 0)
    circuits                  hash    namespace/endpoint -> its circuit, while that is not closed (shard 0)
    meters                    hash    process -> what it counted of itself, when it was told, see meters.py (shard 0)
    bulks                     hash    id -> work on many tasks at once, see bulk.py; # -> changes (shard 0)
    alarms                    hash    type and key -> an alarm that rings, see alarms.py; # -> changes (shard 0)
    bulk:<id>.<part>          string  of such work that makes tasks: number of the last slice made in this shard, the
                                      time in its ids, how many
    keys  used                hash    id of an API key -> what is kept of it, see apikeys.py; # -> changes; id -> when
                                      it was last used, to the minute (shard 0)
    audit:<namespace>         stream  who changed what, the last 10,000 calls about (shard 0)
    session:<SHA-256>         string  for which key the session of this token stands, see sessions.py (shard 0)
    rate:<id>                 string  until when a key with a rate limit has used it up, microseconds (shard 0)

An *entry* of a list is a type byte (`T`, a task), the generation and the id; an entry of `due` has priority and
lane behind it, and its type is `L` for a task that waits in a line, `F` for a ticket, which has the flow key's hash in
the place of an id. A *home* is `<queue>:<lane>:<prio>`. lines.lua says how lines are taken from.
"""

from __future__ import annotations


def prefix(shard: int) -> str:
    """What all keys of a shard start with."""
    return f"tp:{{{shard}}}:"


def conf(shard: int) -> str:
    return prefix(shard) + "conf"


def none(shard: int) -> str:
    return prefix(shard) + "none"


def fence(shard: int) -> str:
    return prefix(shard) + "fence"


def events(shard: int) -> str:
    return prefix(shard) + "ev"


def count(shard: int) -> str:
    return prefix(shard) + "count"


def limits(shard: int) -> str:
    return prefix(shard) + "limits"


def lease(shard: int) -> str:
    return prefix(shard) + "lease"


def run(shard: int) -> str:
    return prefix(shard) + "run"


def expiring(shard: int) -> str:
    return prefix(shard) + "expiring"


def external(shard: int) -> str:
    return prefix(shard) + "ext"


def ended(shard: int, failed: bool) -> str:
    return prefix(shard) + ("dead" if failed else "done")


def due(shard: int, queue: str) -> str:
    return f"{prefix(shard)}due:{queue}"


def ready(shard: int, queue: str, lane: str, priority: int) -> str:
    """*lane* is its letter."""
    return f"{prefix(shard)}q:{queue}:{lane}:{priority}"


def record(id_: bytes) -> bytes:
    return prefix(id_[6]).encode() + b"t:" + id_


def line_name(lane: str, priority: int, hashed: bytes, group: str) -> bytes:
    """The name of a line in `lined`; *lane* is its letter, *hashed* the hash of its flow key, if any."""
    return b"%b%d%b%b" % (lane.encode(), priority, b"F" + hashed if hashed else b"-", group.encode())


def line(shard: int, stored: str, name: bytes) -> bytes:
    """The line of a queue by its name in `lined`."""
    return b"%bline:%b:%b:%b" % (prefix(shard).encode(), home_of(stored, name), group_of(name).encode(), flow_of(name))


def open_lines(shard: int, stored: str, name: bytes) -> bytes:
    """The lines of its group that may be taken from; the line *name* itself stands there by its `flow_of`."""
    return b"%blines:%b:%b" % (prefix(shard).encode(), home_of(stored, name), group_of(name).encode())


def home_of(stored: str, name: bytes) -> bytes:
    return b"%b:%b:%b" % (stored.encode(), name[:1], name[1:2])


def group_of(name: bytes) -> str:
    """The group of the line *name*; empty when its tasks have none."""
    return (name[19:] if name[2:3] == b"F" else name[3:]).decode()


def flow_of(name: bytes) -> bytes:
    """The hash of the flow key of the line *name*; empty when its tasks have none."""
    return name[3:19] if name[2:3] == b"F" else b""


def lined(shard: int, stored: str) -> str:
    return f"{prefix(shard)}lined:{stored}"


def flow(shard: int, hashed: bytes) -> bytes:
    return prefix(shard).encode() + b"flow:" + hashed


def holders(shard: int, hashed: bytes) -> bytes:
    return prefix(shard).encode() + b"hold:" + hashed


def flows(shard: int) -> str:
    return prefix(shard) + "flows"


def groups(shard: int, stored: str) -> str:
    return f"{prefix(shard)}groups:{stored}"


def weights(shard: int) -> str:
    return prefix(shard) + "weights"


def attempts(id_: bytes) -> bytes:
    return prefix(id_[6]).encode() + b"a:" + id_


def checkpoint(id_: bytes) -> bytes:
    return prefix(id_[6]).encode() + b"c:" + id_


def idempotency(shard: int, hashed: bytes) -> bytes:
    return prefix(shard).encode() + b"idem:" + hashed


def made(shard: int) -> str:
    return prefix(shard) + "made"


def made_bucket(shard: int, opened: bytes) -> bytes:
    return prefix(shard).encode() + b"made:" + opened


def wake(shard: int, queue: str, lane: str) -> str:
    """*lane* is its letter."""
    return f"{prefix(shard)}wake:{queue}:{lane}"


def wake_worker(shard: int, worker: str) -> str:
    return f"{prefix(shard)}wake:@{worker}"


def wake_queues(shard: int) -> str:
    return f"{prefix(shard)}wake:@queues"


def worker(worker_id: str) -> str:
    return f"{prefix(0)}worker:{worker_id}"


def doing(worker_id: str) -> str:
    return f"{prefix(0)}doing:{worker_id}"


def commands(worker_id: str) -> str:
    return f"{prefix(0)}ctl:{worker_id}"


WORKERS = prefix(0) + "workers"
HANDLERS = prefix(0) + "handlers"
GONE = prefix(0) + "gone"
SECRETS = prefix(0) + "secrets"
ENDPOINTS = prefix(0) + "endpoints"
QUEUE_SETTINGS = prefix(0) + "queues"
CALLS = prefix(0) + "calls"
CIRCUITS = prefix(0) + "circuits"
BULKS = prefix(0) + "bulks"
METERS = prefix(0) + "meters"
ALARMS = prefix(0) + "alarms"
API_KEYS = prefix(0) + "keys"
KEY_USES = prefix(0) + "used"


def application(namespace: str, name: str) -> str:
    return f"{prefix(0)}app:{namespace}/{name}"


def audit(namespace: str) -> str:
    return f"{prefix(0)}audit:{namespace}"


def session(token_hash: str) -> str:
    return f"{prefix(0)}session:{token_hash}"


def schedule(shard: int, member: str) -> str:
    return f"{prefix(shard)}s:{member}"


def schedule_rows(shard: int, member: str) -> str:
    return f"{prefix(shard)}sh:{member}"


def schedule_backfills(shard: int, member: str) -> str:
    return f"{prefix(shard)}sb:{member}"


def due_schedules(shard: int) -> str:
    return f"{prefix(shard)}sched"


def schedules(shard: int) -> str:
    return f"{prefix(shard)}schedules"


def wake_schedules(shard: int) -> str:
    return f"{prefix(shard)}wake:@schedules"
