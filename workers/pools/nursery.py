"""
The nursery: a small process from which executors are forked, so that they share what the handlers imported.

Forked by the worker process right after its handlers are loaded, while it has no loop, thread or connection yet: a fork
is safe only then. It runs no handler. It alone signals and reaps executors, so no signal ever meets a process number
that is somebody else's by now. It ends with the worker process, however that ends, and takes the executors and all
that they started with them.
"""

from __future__ import annotations

import errno
import gc
import logging
import os
import select
import signal
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from service.children import bind_to_parent
from workers.pools.desk import Desk, Desks

log = logging.getLogger("taskpost.worker")

COMMAND = struct.Struct("=BQQ")  # kind, number of the executor, its desk (FORK) or grace in ms (TERMINATE)
FORK, SOFT, TERMINATE, KILL = range(1, 5)
REPORT = struct.Struct("=BQiiQ")  # kind, number, process id, wait status or errno, most memory it had in KiB
BORN, DIED, REFUSED = range(1, 4)
SOFT_SIGNAL = signal.SIGUSR1
LOOK_SECONDS = 0.05  # how often a group that was told to end is looked at

Live = Callable[[socket.socket, Desk], None]


@dataclass(frozen=True, slots=True)
class Door:
    """The way to a nursery, and the desks of the executors that come from it."""

    line: socket.socket
    desks: Desks


class Keeper:
    """The nursery itself."""

    def __init__(self, line: socket.socket, desks: Desks, live: Live) -> None:
        """*live* is what an executor does with its socket and desk; when it returns, the executor ends."""
        self.line, self.desks, self.live = line, desks, live
        self.parent = os.getppid()
        self.bind = bind_to_parent()
        self.executors: dict[int, int] = {}  # number -> process id
        self.deadlines: dict[int, float] = {}  # number -> when an executor that was told to end is killed
        self.leftovers: dict[int, float] = {}  # process group whose executor has ended -> when the rest is killed
        self.rest = b""
        self.descriptors: deque[int] = deque()
        self.woken, self.waker = socket.socketpair()

    def run(self) -> None:
        """Serve until the worker process is gone."""
        for one in (self.woken, self.waker):
            one.setblocking(False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, overhear)  # several programs send SIGTERM to everybody; ours comes as an end of file
        signal.set_wakeup_fd(self.waker.fileno(), warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self.line, select.POLLIN)
        poll.register(self.woken, select.POLLIN)
        while os.getppid() == self.parent:
            is_waiting = bool(self.deadlines or self.leftovers)
            for descriptor, _ in poll.poll(LOOK_SECONDS * 1000 if is_waiting else None):
                if descriptor == self.woken.fileno():
                    self.woken.recv(4096)
                elif not self.obey():
                    return
            self.reap()
            self.look()

    def obey(self) -> bool:
        """Do what the worker process says; False when it is gone."""
        received, descriptors, _, _ = socket.recv_fds(self.line, COMMAND.size * 64, 128)
        self.descriptors += descriptors
        if not received:
            return False
        self.rest += received
        whole = len(self.rest) // COMMAND.size * COMMAND.size
        commands, self.rest = self.rest[:whole], self.rest[whole:]
        for kind, number, about in COMMAND.iter_unpack(commands):
            if kind == FORK:
                self.fork(number, self.descriptors.popleft(), self.descriptors.popleft(), self.desks.of(about))
            elif (pid := self.executors.get(number)) is None:
                continue  # it has ended in the meantime
            elif kind == SOFT:
                os.kill(pid, SOFT_SIGNAL)
            elif kind == TERMINATE:
                self.deadlines[number] = time.monotonic() + about / 1000
                kill_group(pid, signal.SIGTERM)
            else:
                kill_group(pid, signal.SIGKILL)
        return True

    def fork(self, number: int, descriptor: int, stack: int, desk: Desk) -> None:
        """Make an executor that serves the socket *descriptor*."""
        try:
            pid = os.fork()
        except OSError as exc:
            os.close(descriptor)
            os.close(stack)
            self.report(REFUSED, number, 0, exc.errno or errno.EAGAIN, 0)
            return
        if pid == 0:
            desk.stack = stack
            self.become_executor(descriptor, desk)
        os.close(descriptor)
        os.close(stack)
        self.executors[number] = pid
        self.report(BORN, number, pid, 0, 0)

    def become_executor(self, descriptor: int, desk: Desk) -> NoReturn:
        """In the new process: leave the nursery behind, serve, end."""
        status = 1
        try:
            self.bind()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.setsid()  # a process group of its own, that can be killed as a whole
            for one in (self.line, self.woken, self.waker):
                one.close()
            gc.enable()
            reseed()
            with socket.socket(fileno=descriptor) as line:
                self.live(line, desk)
            status = 0
        except (BrokenPipeError, ConnectionResetError):
            pass  # the worker process is gone
        except BaseException:
            log.critical("a fault of ours ends this executor", exc_info=True)
        finally:
            end(status)

    # ------------------------------------------------------------ executors that end

    def reap(self) -> None:
        """Say which executors have ended. What they leave behind is killed, at once or when its grace is over."""
        for number, pid in list(self.executors.items()):
            ended, status, used = os.wait4(pid, os.WNOHANG)
            if not ended:
                continue
            del self.executors[number]
            deadline = self.deadlines.pop(number, None)
            if deadline is None:
                kill_group(pid, signal.SIGKILL)
            else:
                self.leftovers[pid] = deadline
            self.report(DIED, number, pid, status, used.ru_maxrss // (1024 if sys.platform == "darwin" else 1))

    def look(self) -> None:
        """Kill what was told to end and did not."""
        now = time.monotonic()
        for number, deadline in list(self.deadlines.items()):
            if now >= deadline:
                kill_group(self.executors[number], signal.SIGKILL)
        # The number of a group is nobody else's while one of its processes lives, and we look often enough to know.
        for group, deadline in list(self.leftovers.items()):
            if not has_group(group):
                del self.leftovers[group]
            elif now >= deadline:
                kill_group(group, signal.SIGKILL)

    def end_all(self) -> None:
        """Kill every executor with all that it started."""
        for pid in self.executors.values():
            kill_group(pid, signal.SIGKILL)
        for group in self.leftovers:
            kill_group(group, signal.SIGKILL)

    def report(self, kind: int, number: int, pid: int, status: int, memory_kib: int) -> None:
        self.line.sendall(REPORT.pack(kind, number, pid, status, memory_kib))


def start(live: Live, inherited: Sequence[int] = ()) -> Door:
    """
    Fork the nursery; answers the way to it. Call it while this process has one thread and no event loop.

    *inherited* are descriptors of this process that no other may hold open.
    """
    ours, theirs = socket.socketpair()
    desks = Desks()
    gc.collect()
    gc.freeze()  # what the imports made is never collected, so that the pages it lies in stay shared
    bind = bind_to_parent(signal.SIGTERM)
    if os.fork():
        theirs.close()
        return Door(ours, desks)
    status = 1
    keeper = None
    try:
        gc.disable()
        ours.close()
        for descriptor in inherited:
            os.close(descriptor)
        sink = os.open(os.devnull, os.O_RDONLY)
        os.dup2(sink, 0)
        os.close(sink)
        keeper = Keeper(theirs, desks, live)
        signal.signal(signal.SIGTERM, overhear)
        bind()
        keeper.run()
        status = 0
    except (BrokenPipeError, ConnectionResetError):
        status = 0  # the worker process is gone
    except BaseException:
        log.critical("a fault of ours ends the nursery", exc_info=True)
    finally:
        if keeper is not None:
            keeper.end_all()
        end(status)


def overhear(_number: int, _frame: object) -> None:
    """A signal that only wakes us."""


def kill_group(pid: int, number: signal.Signals) -> None:
    """Signal an executor and all that it started."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:  # it has no group yet: it was forked just now
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
    except PermissionError:  # macOS says so of a group whose processes have all ended
        pass


def has_group(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def reseed() -> None:
    """Let forks not draw the same random numbers; Python's own generator sees to itself."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and hasattr(numpy, "random"):
        numpy.random.seed()


def end(status: int) -> NoReturn:
    """End this process without running what belongs to the one it was forked from."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass
    os._exit(status)
