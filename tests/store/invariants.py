"""
What must hold of the whole keyspace after every test: each task in exactly one state, counters equal to recounts,
nothing left over.

Reads everything, on every node, without any of Taskpost's own reading code but the layout of records, runs and gates.
A test that moves clocks on purpose names what it breaks: `expired` (records may be gone before lists say so),
`unlisted` (ended records may have left their list), `untold` (events may be trimmed).
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from service.ids import created_ms
from service.store.limits import FORM, OPEN, parse_gate
from service.task import DEFAULT_QUEUE, STATE_OF, parse_run
from service.ties import Ties
from tests.store.deployments import Deployment
from tests.store.line_invariants import line_faults, lined_ties, lines_of

LEAST_TTL_MS = 60_000
MAY_BE_LEFT = ("conf", "ev", "workers", "handlers", "gone", "secrets", "endpoints", "calls", "called", "circuits",
               "bulks", "limits", "meters", "alarms")  # fmt: skip
PASSING = (b"sess:", b"idem:", b"worker:", b"doing:", b"ctl:", b"bulk:", b"stat:", b"slow:", b"told:")
LASTING_MARKERS = (b"wake:@queues", b"wake:@schedules")
WAITING_LETTERS = b"qwrk"


@dataclass
class Shard:
    """All keys of one shard, by what stands behind `tp:{n}:`."""

    strings: dict[bytes, bytes] = field(default_factory=dict)
    lists: dict[bytes, list[bytes]] = field(default_factory=dict)
    zsets: dict[bytes, dict[bytes, int]] = field(default_factory=dict)
    hashes: dict[bytes, dict[bytes, bytes]] = field(default_factory=dict)
    ttl_ms: dict[bytes, int] = field(default_factory=dict)
    sets: dict[bytes, set[bytes]] = field(default_factory=dict)
    events: list[bytes] = field(default_factory=list)

    def ids(self, kind: bytes) -> list[bytes]:
        """The ids for which there is a key `<kind>:<id>`."""
        return [name[len(kind) + 1 :] for name in (*self.strings, *self.lists) if name.startswith(kind + b":")]


def faults_of(deployment: Deployment, allowed: Collection[str] = ()) -> list[str]:
    """Everything that does not agree, as sentences; empty when all is well."""
    shards: dict[bytes, Shard] = defaultdict(Shard)
    faults: list[str] = []
    for client in deployment.clients:
        for key in client.scan_iter(count=1000):
            if key.startswith(b"tp:{"):
                number, _, name = key[4:].partition(b"}:")
                read(client, key, name, shards[number])
            else:
                faults.append(f"a key that is not ours: {key!r}")
    for number, shard in sorted(shards.items()):
        checker = Checker(shard, allowed)
        checker.check()
        faults += [f"shard {number.decode()}: {fault}" for fault in checker.faults]
    return faults


def read(client: Any, key: bytes, name: bytes, shard: Shard) -> None:
    kind, ttl_ms = client.type(key), client.pttl(key)
    if kind == b"none" or ttl_ms == -2:
        return
    if ttl_ms >= 0:
        shard.ttl_ms[name] = ttl_ms
    if kind == b"string":
        shard.strings[name] = client.get(key)
    elif kind == b"list":
        shard.lists[name] = client.lrange(key, 0, -1)
    elif kind == b"zset":
        shard.zsets[name] = {member: int(score) for member, score in client.zrange(key, 0, -1, withscores=True)}
    elif kind == b"hash":
        shard.hashes[name] = client.hgetall(key)
    elif kind == b"set":
        shard.sets[name] = set(client.smembers(key))
    elif name == b"ev":
        shard.events = [fields[b"e"] for _, fields in client.xrange(key)]


class Checker:
    """Holds one shard to its rules; `faults` says what is broken."""

    def __init__(self, shard: Shard, allowed: Collection[str]) -> None:
        self.shard, self.allowed = shard, allowed
        self.faults: list[str] = []
        self.records = {name[2:]: text for name, text in shard.strings.items() if name.startswith(b"t:")}
        self.runs = {id_: parse_run(text) for id_, text in shard.hashes.get(b"run", {}).items()}
        self.leases = shard.zsets.get(b"lease", {})
        self.where: dict[bytes, str] = {}
        self.now_ms = int(time.time() * 1000)

    def fault(self, text: str) -> None:
        self.faults.append(text)

    def check(self) -> None:
        entries = self.valid_entries()
        for id_, record in self.records.items():
            if record[1:2] == b"W":
                self.check_waiting(id_, record, entries.get(id_, []))
            else:
                self.check_ended(id_, record)
        self.check_orphans()
        self.check_counts()
        self.check_gates()
        self.check_creation_order()
        self.check_names()
        self.check_events()
        self.check_calls()
        self.faults += line_faults(self.shard, self.records, self.runs)

    # ------------------------------------------------------------ tasks

    def valid_entries(self) -> dict[bytes, list[tuple[bytes, bytes]]]:
        """id -> (key, what the key must say of it) of entries whose generation is the record's."""
        found: dict[bytes, list[tuple[bytes, bytes]]] = defaultdict(list)
        for name, entries in self.shard.lists.items():
            if name.startswith(b"q:"):
                queue, lane, priority = name[2:].rsplit(b":", 2)
                for entry in entries:
                    self.note(found, entry[1:2], entry[2:18], name, b"%b:%b:%b" % (queue, lane, priority))
        for name, home, group, flow in lines_of(self.shard):
            for entry in self.shard.lists.get(name, []):
                told = home + Ties(flow=flow, group=group.decode()).packed()
                self.note(found, entry[1:2], entry[2:18], name, told)
        for name, members in self.shard.zsets.items():
            if name.startswith(b"due:"):
                for entry, due_ms in members.items():
                    if entry[:1] == b"F":
                        continue
                    if (entry[:1] == b"L") != bool(lined_ties(self.records.get(entry[2:18], b""))):
                        self.fault(f"{name!r} holds {entry!r}, and its record says another type")
                    told = b"%b:%b:%b@%d" % (name[4:], entry[19:20], entry[18:19], due_ms)
                    self.note(found, entry[1:2], entry[2:18], name, told)
                    if entry[2:18] not in self.records:
                        self.fault(f"{name!r} holds {entry[2:18].hex()}, which has no record")
        return found

    def note(self, found: dict[bytes, Any], generation: bytes, id_: bytes, name: bytes, told: bytes) -> None:
        record = self.records.get(id_)
        if record is not None and record[1:3] == b"W" + generation:
            found[id_].append((name, told))

    def check_waiting(self, id_: bytes, record: bytes, entries: list[tuple[bytes, bytes]]) -> None:
        run = self.runs.get(id_)
        task = id_.hex()
        if f"t:{task}" in self.shard.ttl_ms or b"t:" + id_ in self.shard.ttl_ms:
            self.fault(f"{task} waits, and its record expires")
        if run is not None and run.is_held:
            self.where[id_] = "cancelling" if run.is_cancelling else "running"
            if id_ not in self.leases:
                self.fault(f"{task} is held in `run` without a lease")
            if entries:
                self.fault(f"{task} runs, and has an entry in {entries}")
            return
        if id_ in self.leases:
            self.fault(f"{task} has a lease, and `run` does not hold it")
        if len(entries) != 1:
            self.fault(f"{task} waits with {len(entries)} entries: {entries}")
            return
        name, told = entries[0]
        is_suspect = run is not None and run.is_suspect  # it runs alone, from lists of its own
        lane = record[4:5].upper() if is_suspect else record[4:5]
        expected = b"%b:%b:%b" % (queue_of(record), lane, record[3:4])
        if name.startswith(b"due:"):
            self.where[id_] = "scheduled"
            expected += b"@%d" % int.from_bytes(record[5:11], "big")
        else:
            self.where[id_] = "queued"
            expected += lined_ties(record)
        if told != expected:
            self.fault(f"{task} stands as {told!r}, its record says {expected!r}")

    def check_ended(self, id_: bytes, record: bytes) -> None:
        task = id_.hex()
        self.where[id_] = STATE_OF[record[1:2]]
        if id_ in self.leases or id_ in self.runs:
            self.fault(f"{task} has ended and is still in `lease` or `run`")
        ended_ms, ttl_ms = int.from_bytes(record[5:11], "big"), self.shard.ttl_ms.get(b"t:" + id_)
        if ttl_ms is None:
            self.fault(f"{task} has ended and never expires")
        elif ttl_ms + self.now_ms - ended_ms < LEAST_TTL_MS - 2000 and "expired" not in self.allowed:
            self.fault(f"{task} has ended and is kept for less than a minute")
        wanted, other = (b"dead", b"done") if record[1:2] == b"F" else (b"done", b"dead")
        if id_ in self.shard.zsets.get(other, {}):
            self.fault(f"{task} is in {other!r}, its state is {record[1:2]!r}")
        if self.shard.zsets.get(wanted, {}).get(id_) != ended_ms and "unlisted" not in self.allowed:
            self.fault(f"{task} is not in {wanted!r} at the time of its end")

    # ------------------------------------------------------------ what belongs to tasks

    def check_orphans(self) -> None:
        for kind in (b"o", b"a", b"p", b"c", b"l"):
            for id_ in self.shard.ids(kind):
                if id_ not in self.records:
                    self.fault(f"{kind.decode()}: of {id_.hex()}, which has no record")
        for id_ in self.shard.ids(b"o"):
            if self.records.get(id_, b"?W")[1:2] == b"W":
                self.fault(f"{id_.hex()} has an outcome and has not ended")
        for id_ in self.shard.ids(b"a"):
            if self.records.get(id_, b"?W")[1:2] != b"W" and b"a:" + id_ not in self.shard.ttl_ms:
                self.fault(f"the attempts of {id_.hex()} never expire")
        for id_ in self.shard.ids(b"p"):
            if self.records.get(id_, b"?W")[1:2] != b"W":
                self.fault(f"{id_.hex()} has ended and its progress is left over")
        self.check_checkpoints()
        self.check_logs()
        self.check_expiring()
        self.check_unique()
        for id_, run in self.runs.items():
            if id_ not in self.records:
                self.fault(f"`run` holds {id_.hex()}, which has no record")
            if run.is_held and not any(run.token):
                self.fault(f"{id_.hex()} is held without a token")
        external = self.shard.hashes.get(b"ext", {})
        for id_ in external.keys() ^ {id_ for id_, run in self.runs.items() if run.is_held and run.is_external}:
            self.fault(f"{id_.hex()} is only in one of `ext` and what `run` says that endpoints hold")
        for id_, noted in external.items():
            if len(noted) != 18 or self.leases.get(id_, 0) > int.from_bytes(noted[6:12], "big"):
                self.fault(f"{id_.hex()} is leased for longer than its endpoint may be silent")
        for id_ in self.leases:
            if id_ not in self.runs:
                self.fault(f"`lease` holds {id_.hex()}, which is not in `run`")
        if "expired" not in self.allowed:
            for name in (b"done", b"dead", b"exp"):
                for id_ in self.shard.zsets.get(name, {}):
                    if id_ not in self.records:
                        self.fault(f"{name!r} holds {id_.hex()}, which has no record")

    def check_checkpoints(self) -> None:
        flagged = {id_ for id_, text in self.shard.hashes.get(b"run", {}).items() if text[16] & 64}
        kept = set(self.shard.ids(b"c"))
        for id_ in kept - flagged:
            self.fault(f"{id_.hex()} has a checkpoint that nobody would hand on")
        for id_ in flagged - kept:
            self.fault(f"{id_.hex()} is said to have a checkpoint, and there is none")
        for id_ in kept:
            if b"c:" + id_ not in self.shard.ttl_ms:
                self.fault(f"the checkpoint of {id_.hex()} never expires")

    def check_expiring(self) -> None:
        """Those that have not ended and expire, by when; no others."""
        ties = {id_: ties_of(record) for id_, record in self.records.items() if record[1:2] == b"W"}
        expected = {id_: tie.expires_ms for id_, tie in ties.items() if tie.expires_ms}
        found = self.shard.zsets.get(b"expiring", {})
        for id_ in {id_ for id_, _ in expected.items() ^ found.items()}:
            self.fault(f"{id_.hex()} expires at {expected.get(id_)}, and stands in `expiring` by {found.get(id_)}")

    def check_unique(self) -> None:
        """A unique key is that of a task that has not ended and has its tie, or is kept for a time."""
        for name, text in self.shard.strings.items():
            if not name.startswith(b"uniq:") or (text[16:17] == b"T" and name in self.shard.ttl_ms):
                continue
            record = self.records.get(text[:16], b"?X")
            if record[1:2] != b"W" or ties_of(record).unique != name[5:]:
                self.fault(f"{name!r} is that of {text[:16].hex()}, which has ended, or has another")
            if text[16:17] not in (b"F", b"S", b"Q") or name in self.shard.ttl_ms:
                self.fault(f"{name!r} is held {text!r}")

    def check_logs(self) -> None:
        """Only attempts that run have one of their own; its head agrees with its lines, and these with the bounds."""
        for id_ in self.shard.ids(b"l"):
            log = self.shard.lists[b"l:" + id_]
            said, kept = int.from_bytes(log[0][:4], "big"), int.from_bytes(log[0][4:], "big")
            if id_ not in self.runs or not self.runs[id_].is_held or not self.shard.hashes[b"run"][id_][16] & 128:
                self.fault(f"the log of {id_.hex()} is left over from an attempt that does not run")
            if b"l:" + id_ not in self.shard.ttl_ms:
                self.fault(f"the log of {id_.hex()} never expires")
            if kept != sum(map(len, log[1:])) or not 0 < len(log) - 1 <= said:
                self.fault(f"the log of {id_.hex()} counts {said} lines and {kept} bytes, and has {log[1:]}")
            if len(log) > 201 or kept > 32 * 1024:
                self.fault(f"the log of {id_.hex()} has {len(log) - 1} lines of {kept} bytes")

    def check_counts(self) -> None:
        letters = {"queued": b"q", "scheduled": b"s", "running": b"r", "cancelling": b"r"}
        recount: Counter[bytes] = Counter()
        for id_, place in self.where.items():
            if place in letters:
                recount[letters[place] + b":" + queue_of(self.records[id_])] += 1
        counted = {name: int(value) for name, value in self.shard.hashes.get(b"count", {}).items()}
        for name in sorted({*recount, *counted}):
            if recount[name] != counted.get(name, 0):
                self.fault(f"count {name!r} is {counted.get(name, 0)}, there are {recount[name]}")

    def check_gates(self) -> None:
        for queue, text in self.shard.hashes.get(b"limits", {}).items():
            if len(text) != FORM.size + 19 or not text[FORM.size :].isdigit():
                self.fault(f"the gate of {queue!r} cannot be read: {text!r}")
                continue
            gate = parse_gate(text)
            if gate == OPEN:
                self.fault(f"the gate of {queue!r} holds nothing back, and is kept")
            if gate.every_ms is not None and gate.at_ms > self.now_ms + gate.every_ms * gate.burst + 1000:
                self.fault(f"starts of {queue!r} are paid for until {gate.at_ms}: more than its burst")

    def check_creation_order(self) -> None:
        covered: Counter[bytes] = Counter()
        buckets = {name[5:]: runs for name, runs in self.shard.lists.items() if name.startswith(b"made:")}
        if set(buckets) != set(self.shard.zsets.get(b"made", {})):
            self.fault("`made` and its buckets differ")
        for runs in buckets.values():
            for run in runs:
                first = int.from_bytes(run[14:16], "big")
                covered.update(run[:14] + (first + n).to_bytes(2, "big") for n in range(run[16] + 1))
        for id_ in self.records:
            if covered[id_] != 1:
                self.fault(f"{id_.hex()} is {covered[id_]} times in the order of creation")

    # ------------------------------------------------------------ the rest

    def check_names(self) -> None:
        known = (
            b"t:", b"o:", b"a:", b"p:", b"c:", b"l:", b"q:", b"due:", b"wake:", b"made:", b"idem:", b"uniq:",
            b"sess:", b"worker:", b"doing:", b"ctl:", b"s:", b"sh:", b"sb:", b"app:", b"bulk:", b"stat:",
            b"slow:", b"told:", b"line:", b"lined:", b"lines:", b"turn:", b"park:", b"parks:", b"flow:", b"hold:",
            b"groups:",
        )  # fmt: skip
        lists = (b"done", b"dead", b"exp", b"expiring", b"made", b"ev")
        whole = (b"conf", b"count", b"lease", b"ext", b"run", *lists, b"workers", b"handlers", b"gone",
                 b"bulks", b"alarms", b"meters",
                 b"secrets", b"endpoints", b"queues", b"sched", b"schedules", b"calls", b"called",
                 b"circuits", b"limits", b"tied", b"flows", b"weights", b"fence")  # fmt: skip
        shard = self.shard
        for name in (*shard.strings, *shard.lists, *shard.zsets, *shard.hashes, *shard.sets):
            if name not in whole and not name.startswith(known):
                self.fault(f"a key of no known kind: {name!r}")
            if name.startswith(PASSING) and name not in shard.ttl_ms:
                self.fault(f"{name!r} never expires")
            if name.startswith(b"wake:@") and name not in LASTING_MARKERS and name not in shard.ttl_ms:
                self.fault(f"the marker {name!r} outlives its worker")

    def check_calls(self) -> None:
        """What was counted of an endpoint is in the order in which it is forgotten, and a circuit belongs to one."""
        counted, ordered = self.shard.hashes.get(b"calls", {}), self.shard.zsets.get(b"called", {})
        for name in counted.keys() ^ ordered.keys():
            self.fault(f"only one of `calls` and `called` knows {name!r}")
        for name in self.shard.hashes.get(b"circuits", {}).keys() - counted.keys():
            self.fault(f"the circuit of {name!r}, whose calls nobody counted")

    def check_events(self) -> None:
        """The last thing that was told of each task is what it is now."""
        told: dict[bytes, bytes] = {}
        for payload in self.shard.events:
            if len(payload) % 18:
                self.fault(f"an event of {len(payload)} bytes: {payload!r}")
                continue
            for at in range(0, len(payload), 18):
                letter, stem, tail = payload[at : at + 1], payload[at + 1 : at + 15], payload[at + 15 : at + 17]
                first = int.from_bytes(tail, "big")
                for n in range(payload[at + 17] + 1 if letter not in b"pl" else 0):
                    told[stem + (first + n).to_bytes(2, "big")] = letter
        names = {b"w": "scheduled", b"q": "queued", b"r": "running", b"k": "cancelling", **STATE_OF}
        if len(self.shard.events) > 4000 or "untold" in self.allowed:
            return
        for id_, place in self.where.items():
            if id_ not in told:
                self.fault(f"nothing was told of {id_.hex()}, created {self.now_ms - created_ms(id_)} ms ago")
            elif names.get(told[id_]) != place:
                self.fault(f"{id_.hex()} is {place}, and last told as {names.get(told[id_])}")


def ties_of(record: bytes) -> Ties:
    return Ties.parsed(record[13 : 13 + record[12]].partition(b"\0")[2])


def queue_of(record: bytes) -> bytes:
    return record[13 : 13 + record[12]].partition(b"\0")[0] or DEFAULT_QUEUE.encode()
