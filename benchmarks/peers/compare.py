"""
Taskpost beside each peer in turns: submit over HTTP and by hundreds, drain, sleep, call a URL, start when idle.

While one side is measured the other's worker is frozen (SIGSTOP), so that it takes nothing. A peer's rate is by the
stamps of its handlers, from the first that ran on; Taskpost's by what Redis noted of tasks that ended, their results
stored. What a peer does not do stands among the figures with its error.
"""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar

from benchmarks import load, machine
from benchmarks.drain import IN_PROCESS, NOTHING, drained
from benchmarks.figures import Figure, Goal, percentile
from benchmarks.handlers import SLEEP_SECONDS
from benchmarks.latency import Caller, until_started
from benchmarks.load import Load
from benchmarks.peers.definitions import PEERS, Peer, Web
from benchmarks.peers.recovery import recovery
from benchmarks.peers.running import Running, rate, running
from benchmarks.scale import Scale
from benchmarks.sleep import AT_ONCE, KINDS
from benchmarks.submit import HUNDRED, ONE
from benchmarks.system import HOST, MEMORY, System, floor, system
from benchmarks.urls import submission_to

BULK_GOAL, CHILDREN_GOAL, CALL_GOAL = 4, 12, 8
CHILDREN = 4  # as many as Celery's
CONNECTIONS = 8  # that submit hundreds; a peer that is asynchronous has as many calls under way
FIRST = 200  # tasks by whose rate is decided how many make a round
LONGER = 2  # a round that drains takes so many times the seconds of a round of load
EXCHANGE_SECONDS = 20  # at the most, a round of exchanges, for peers that take half a second each
Round = TypeVar("Round")
Section = Callable[..., Iterator[Figure]]  # of scale, the running peer and Taskpost


def peers(scale: Scale, kind: str, names: list[str]) -> Iterator[Figure]:
    """All figures beside each of *names*, and at last what becomes of the tasks of killed workers."""
    with system(kind, MEMORY, "web") as one, floor("starlette") as bare:
        yield from beside_starlette(scale, one, bare)
    for name in names:
        print(f"  beside {PEERS[name]}", file=sys.stderr, flush=True)
        yield from beside(scale, kind, PEERS[name])
    print("  recovery of all", file=sys.stderr, flush=True)
    yield from recovery(scale, kind, [PEERS[name] for name in names])


def beside(scale: Scale, kind: str, peer: Peer) -> Iterator[Figure]:
    whole = dict.fromkeys(("concurrency", "threads"), AT_ONCE) | {"processes": 1, "children": CHILDREN}
    with ExitStack() as stack:
        one = stack.enter_context(system(kind, MEMORY, "web"))
        submits: list[Section] = [partial(submitting, web=web) for web in peer.webs]
        for section in (*submits, submitting_many):  # nobody works, so what is submitted stays
            yield from reported(section, scale, kind, peer, one)
    with ExitStack() as stack:
        one = stack.enter_context(system(kind, MEMORY, "web", "worker", "scheduler", **whole))
        works = [working, *[sleeping] * bool(peer.waiting), *[calling] * peer.calls]
        for section in works:
            yield from reported(section, scale, kind, peer, one)


def reported(section: Section, scale: Scale, kind: str, peer: Peer, one: System) -> Iterator[Figure]:
    """The figures of *section*, or of how it failed: hours of other figures must not be lost with it."""
    try:
        with running(peer, kind) as theirs:
            yield from section(scale, theirs, one)
    except Exception as fault:
        traceback.print_exc()
        name = (section.func if isinstance(section, partial) else section).__name__.replace("_", " ")
        yield Figure(name, one.where, "", [], None, str(peer), error=str(fault))


def in_turns(scale: Scale, ours: Callable[[], Round], theirs: Callable[[], Round]) -> tuple[list[Round], list[Round]]:
    """The rounds of both; who comes first changes, so that neither always finds the machine as the other left it."""
    found: dict[Callable[[], Round], list[Round]] = {ours: [], theirs: []}
    for turn in range(scale.rounds):
        for side in (theirs, ours) if turn % 2 else (ours, theirs):
            found[side].append(side())
    return found[ours], found[theirs]


def times(least: float | None) -> Goal | None:
    return Goal(least, is_ratio=True) if least else None


# ---------------------------------------------------------------- submitting


class Speed(NamedTuple):
    """Of one round: requests or tasks a second, and processor time for one."""

    a_second: float
    cpu_us: float


def figures(
    name: str, one: System, ours: list[Speed], theirs: list[Speed], goal: Goal | None, against: str, whose: str
) -> Iterator[Figure]:
    """The rates, which a busy machine spoils; and the processor time of *whose* process, which it hardly does."""
    rates, floor_rates = ([speed.a_second for speed in side] for side in (ours, theirs))
    yield Figure(name, one.where, "a second", rates, goal, against, floor_rates)
    used, floor_used = ([speed.cpu_us for speed in side] for side in (ours, theirs))
    yield Figure(f"{name}: CPU of the {whose}", one.where, "us each", used, None, against, floor_used)


def served(scale: Scale, side: tuple[int, int], path: str = "/v1/tasks", body: str = ONE) -> Speed:
    """Requests that the process listens for: *side* is its port and its id."""
    port, pid = side
    before = machine.cpu_us(pid)
    sent = load.run(Load(port, path, body, seconds=scale.seconds))
    return Speed(sent.a_second, (machine.cpu_us(pid) - before) / max(sent.answers, 1))


def api_of(one: System) -> tuple[int, int]:
    return one.port, one.parts["web"].pid


def beside_starlette(scale: Scale, one: System, bare: tuple[int, int]) -> Iterator[Figure]:
    ours, theirs = in_turns(scale, lambda: served(scale, api_of(one)), lambda: served(scale, bare))
    yield from figures("submit, one a request", one, ours, theirs, times(1.0), "bare Starlette", "API")


def submitting(scale: Scale, theirs: Running, one: System, web: Web) -> Iterator[Figure]:
    """One task a request, 50 connections, one process each."""
    side, peer = theirs.web(web), theirs.peer
    served(scale, side, web.path, web.body)  # connections to Redis are opened, scripts are loaded
    ours, rounds = in_turns(
        scale, lambda: served(scale, api_of(one)), lambda: served(scale, side, web.path, web.body)
    )
    before = f"{web.title} {peer.version(web.title)} + {peer}"
    yield from figures("submit, one a request", one, ours, rounds, times(peer.submit_goal), before, "API")


def submitting_many(scale: Scale, theirs: Running, one: System) -> Iterator[Figure]:
    """A hundred at a time: ours over HTTP, the peer by its library."""

    def our_turn() -> Speed:
        _, pid = api_of(one)
        before = machine.cpu_us(pid)
        sent = load.run(Load(one.port, "/v1/tasks/batch", HUNDRED, connections=CONNECTIONS, seconds=scale.seconds))
        return Speed(sent.a_second * 100, (machine.cpu_us(pid) - before) / max(sent.answers * 100, 1))

    def their_turn() -> Speed:
        assert theirs.submitter
        before = machine.cpu_us(theirs.submitter.pid)
        sent = theirs.ask(bulk_seconds=scale.seconds)
        return Speed(sent["a_second"], (machine.cpu_us(theirs.submitter.pid) - before) / max(sent["tasks"], 1))

    theirs.submit("nothing", 100)
    ours, rounds = in_turns(scale, our_turn, their_turn)
    name = "submit, 100 at a time, ours over HTTP"
    yield from figures(name, one, ours, rounds, times(BULK_GOAL), str(theirs.peer), "process that submits")


# ---------------------------------------------------------------- working


@contextmanager
def frozen(one: System) -> Iterator[None]:
    one.signal("worker", signal.SIGSTOP)
    try:
        yield
    finally:
        one.signal("worker", signal.SIGCONT)


def their_speed(theirs: Running, one: System, name: str, many: int, **args: Any) -> Speed:
    """Of *many* tasks that wait already."""
    ran = theirs.ran()
    with frozen(one):
        with theirs.frozen():
            theirs.submit(name, many, **args)
            before = theirs.worker_cpu_us()
        theirs.until(ran + many)
        return Speed(rate(theirs.stamps_ns(ran)), (theirs.worker_cpu_us() - before) / many)


def a_round(scale: Scale, theirs: Running, one: System, name: str, **args: Any) -> int:
    """How many tasks of the peer take long enough."""
    first = their_speed(theirs, one, name, FIRST, **args)
    return max(int(first.a_second * scale.seconds * LONGER), FIRST)


def our_speed(theirs: Running, one: System, submission: str, many: int) -> Speed:
    with theirs.frozen():
        found = drained(one, submission, many)
    return Speed(found.a_second, found.worker_us)


def working(scale: Scale, theirs: Running, one: System) -> Iterator[Figure]:
    """Handlers that do nothing: many that wait already, and one at a time."""
    peer = theirs.peer
    theirs.start_worker(peer.worker)
    shapes = [("drain", NOTHING, scale.drained, times(peer.drain_goal))]
    if peer.name == "celery":
        name = f"drain in {CHILDREN} child processes"
        shapes.append((name, IN_PROCESS, scale.drained_otherwise, times(CHILDREN_GOAL)))
    many = a_round(scale, theirs, one, "nothing")
    for name, submission, ours_many, goal in shapes:
        our_speed(theirs, one, submission, FIRST)
        ours, rounds = in_turns(
            scale,
            partial(our_speed, theirs, one, submission, ours_many),
            lambda: their_speed(theirs, one, "nothing", many),
        )
        yield from figures(name, one, ours, rounds, goal, str(peer), "worker")
    yield from idle(scale, theirs, one)


def idle(scale: Scale, theirs: Running, one: System) -> Iterator[Figure]:
    """Sent -> handler started on an idle system: ours over HTTP, the peer by its library."""
    caller = Caller(one.port)

    def our_turn() -> list[float]:
        with theirs.frozen():
            return until_started(caller, scale.exchanges)

    def their_turn() -> list[float]:
        ran = theirs.ran()
        with frozen(one):
            sent = theirs.ask(exchanges=scale.exchanges, seconds=EXCHANGE_SECONDS)["sent_ns"]
        return [(at - before) / 1e6 for before, at in zip(sent, theirs.stamps_ns(ran), strict=True)]

    try:
        until_started(caller, 5)
        both = in_turns(scale, our_turn, their_turn)
    finally:
        caller.close()
    for part in (0.5, 0.99):
        name, ahead = f"idle: sent -> handler started, p{part * 100:g}", Goal(most=1.0, is_ratio=True)
        ours, rounds = ([percentile(values, part) for values in side] for side in both)
        yield Figure(name, one.where, "ms", ours, ahead, str(theirs.peer), rounds)


def sleeping(scale: Scale, theirs: Running, one: System) -> Iterator[Figure]:
    """Handlers that wait 50 ms, 200 at once."""
    assert theirs.peer.waiting
    theirs.start_worker(theirs.peer.waiting)
    submission, ideal = KINDS["async def"], AT_ONCE / SLEEP_SECONDS
    our_speed(theirs, one, submission, AT_ONCE)
    many = a_round(scale, theirs, one, "sleep")
    ours, rounds = in_turns(
        scale,
        lambda: our_speed(theirs, one, submission, scale.slept * AT_ONCE),
        lambda: their_speed(theirs, one, "sleep", many),
    )
    name = f"sleeping {SLEEP_SECONDS * 1000:g} ms, {AT_ONCE} at once; ideal {ideal:,.0f}"
    yield from figures(name, one, ours, rounds, Goal(least=0.95 * ideal), str(theirs.peer), "worker")


def calling(scale: Scale, theirs: Running, one: System) -> Iterator[Figure]:
    """Tasks that call an endpoint which answers at once: a URL task of ours, a task of the peer that uses httpx."""
    theirs.start_worker(theirs.peer.worker)
    with floor("endpoint") as (port, _):
        url = f"http://{HOST}:{port}/"
        our_speed(theirs, one, submission_to(port), FIRST)
        many = a_round(scale, theirs, one, "call", url=url)
        ours, rounds = in_turns(
            scale,
            lambda: our_speed(theirs, one, submission_to(port), scale.called),
            lambda: their_speed(theirs, one, "call", many, url=url),
        )
    yield from figures("call a URL", one, ours, rounds, times(CALL_GOAL), f"{theirs.peer} + httpx", "worker")
