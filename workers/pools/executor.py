"""
An executor: a process that runs `def` handlers, one at a time, on its main thread.

Its process group is its own, so that all that a handler starts can be killed with it. What runs on the main thread can
be interrupted: the soft time limit raises SoftTimeLimitExceeded in the handler and a cancellation CancelledError, also
in a loop or a `time.sleep`; only code that never returns to Python is out of reach, and is killed. Processes that a
handler leaves behind live on until its executor ends.
"""

from __future__ import annotations

import asyncio
import faulthandler
import itertools
import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from time import monotonic, process_time
from typing import Any

import orjson

from service.errors import InvalidArguments, TaskpostError
from workers.around import call_sync
from workers.context import Context
from workers.handler import Handler
from workers.outcome import LOST, Cancelled, Outcome, SoftTimeLimitExceeded, failed
from workers.pools import wire
from workers.pools.desk import Desk
from workers.pools.nursery import SOFT_SIGNAL
from workers.registry import Registry
from workers.resources import Lifespan
from workers.said import SAID

log = logging.getLogger("taskpost.worker")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an executor keeps to; 0: no bound."""

    max_result_bytes: int
    max_tasks: int = 0
    max_memory_bytes: int = 0


class Executor:
    """Serves the pool at the other end of *line*, which may send calls ahead; *desk*: see `desk.py`."""

    def __init__(self, registry: Registry, bounds: Bounds, line: socket.socket, desk: Desk) -> None:
        self.registry, self.bounds, self.line, self.desk = registry, bounds, line, desk
        self.serial = 0  # of the call that was taken last
        self.cutter = wire.Cutter()
        self.frames: deque[wire.Frame] = deque()
        self.sending = threading.Lock()
        self.number = 0  # of the call that runs, or ran last
        self.done = 0
        self.is_done = False  # by its bounds it takes no more
        self.ctx: Context | None = None
        self.is_inside = False  # a handler runs, and may be interrupted
        self.is_busy = False  # the main thread is at the line, and must not be interrupted
        self.has_missed = False  # a signal came when nothing could be interrupted
        self.memory: int | None = None
        self.asked = itertools.count(1)
        self.answers: dict[int, SimpleQueue[wire.Frame | None]] = {}  # of checkpoints; None: nobody will answer

    def run(self) -> None:
        """Run what the pool calls, until it hangs up."""
        self.settle_in()
        with Lifespan(self.registry, ("process",)):
            self.say(wire.pack(wire.READY))
            while (frame := self.next_call()) is not None:
                self.attempt(frame)

    def settle_in(self) -> None:
        """Hear signals; let no process that a handler forks hold our line open."""
        signal.signal(SOFT_SIGNAL, self.hear)
        signal.signal(signal.SIGTERM, self.hear)
        # Written by the C handler of the signal, so that code which never returns to Python is told of, too.
        faulthandler.register(signal.SIGTERM, self.desk.stack, all_threads=False, chain=True)
        os.register_at_fork(after_in_child=self.leave_behind)
        faulthandler.enable()  # faulty C code: the log tells where, before we die of it
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(line_buffering=True)  # what a handler prints must not wait, or die with us

    def leave_behind(self) -> None:
        """In a process that a handler forked: it is no executor."""
        self.is_inside = False
        self.sending = threading.Lock()  # a thread that is not here may have held it
        self.line.close()
        signal.signal(SOFT_SIGNAL, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.close(self.desk.stack)

    # ------------------------------------------------------------ the line

    def next_call(self) -> wire.Frame | None:
        """The next call; None when the pool has hung up. What was meant for calls that are over is dropped."""
        while True:
            self.is_busy = True
            if not self.frames:
                if not self.read():
                    return None
                continue
            frame = self.frames.popleft()
            if frame[0] != wire.CALL:
                continue
            self.serial += 1
            begins = self.desk.begin(self.serial) and not self.is_done
            self.is_busy = False
            if begins:
                return frame
            self.say(wire.pack(wire.WITHDRAWN, frame[2]))

    def read(self, flags: int = 0) -> bool:
        """Hear something from the pool; False when it has hung up. Whoever calls this is `is_busy`."""
        received = self.line.recv(wire.READ_BYTES, flags)
        for frame in self.cutter.feed(received):
            if frame[0] not in (wire.KEPT, wire.REFUSED):
                self.frames.append(frame)
            elif (answer := self.answers.get(wire.NUMBER.unpack_from(frame[3])[0])) is not None:
                answer.put(frame)
        return bool(received)

    def say(self, frame: bytes) -> None:
        """Send *frame*, from whatever thread, whole."""
        if threading.current_thread() is not threading.main_thread():
            with self.sending:
                self.line.sendall(frame)
            return
        self.is_busy = True
        try:
            with self.sending:
                self.line.sendall(frame)
        finally:
            self.is_busy = False
        if self.has_missed and self.is_inside:
            self.heed()

    def tell_progress(self, current: float, total: float | None, message: str | None) -> None:
        self.say(wire.pack(wire.PROGRESS, self.number, orjson.dumps([current, total, message])))

    def tell_log(self, number: int, said_ms: float, level: str, text: str) -> None:
        """Send a line of the call *number*; a thread that outlives its call must not speak for the next one."""
        try:
            self.say(wire.pack(wire.LOG, number, orjson.dumps([said_ms, level, text])))
        except OSError:  # in a process that the handler forked, or the pool is gone: the line is logged, not kept
            pass

    def keep(self, call: int, json: bytes) -> Awaitable[None]:
        """
        Have the pool store a checkpoint, and wait until that is done.

        Raises:
            asyncio.CancelledError: the lease is lost, or the attempt is over.
            TaskpostError: Redis refuses it.
        """
        if self.ctx is None or call != self.number:
            raise asyncio.CancelledError("its attempt is over")
        number, is_main = next(self.asked), threading.current_thread() is threading.main_thread()
        answer: SimpleQueue[wire.Frame | None] = SimpleQueue()
        self.answers[number] = answer
        try:
            body = wire.NUMBER.pack(number) + json
            self.say(wire.pack(wire.CHECKPOINT, call, body, 0 if is_main else wire.ASIDE))
            while is_main and answer.empty():
                self.await_word(answer)
            frame = answer.get()
        finally:
            del self.answers[number]
        if frame is not None and frame[0] == wire.KEPT:
            return SAID
        if frame is not None and (reason := frame[3][wire.NUMBER.size :].decode()):
            raise TaskpostError(reason)
        raise asyncio.CancelledError(LOST)

    def await_word(self, answer: SimpleQueue[wire.Frame | None]) -> None:
        """On the main thread: wait until the pool says something, and do with the handler what it says."""
        self.is_busy = True
        try:
            # Looked at again, because a signal may have brought the answer before it was not to interrupt us.
            if answer.empty() and not self.read():
                raise asyncio.CancelledError("the worker is gone")
        finally:
            self.is_busy = False
        if self.is_inside and (self.has_missed or self.frames):
            self.heed()

    # ------------------------------------------------------------ signals

    def hear(self, _number: int, _frame: object) -> None:
        """A signal only says that there is word on the line; one that somebody else sent means nothing."""
        if self.is_busy:
            self.has_missed = True
        else:
            self.heed()

    def heed(self) -> None:
        """Hear what the pool says, and do with the handler that runs what it asks. Raises what interrupts it."""
        self.is_busy = True
        try:
            self.has_missed = not self.is_inside  # what interrupts a handler waits until one can be interrupted
            while self.read(socket.MSG_DONTWAIT):
                pass
        except BlockingIOError:
            pass
        finally:
            waiting = self.frames if self.is_inside else deque()
            self.frames = deque(frame for frame in self.frames if not self.is_inside or frame[0] == wire.CALL)
            self.is_busy = False
        kinds = {kind: body for kind, _, number, body in waiting if number == self.number}
        if wire.TERMINATE in kinds:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        elif wire.CANCEL in kinds:
            if self.ctx is not None:
                self.ctx.stop(Cancelled(kinds[wire.CANCEL].decode()))
                self.ctx.mark_stop_seen()
            raise asyncio.CancelledError("the attempt was asked to stop")
        elif wire.SOFT in kinds:
            raise SoftTimeLimitExceeded("the soft time limit has passed")
        elif self.has_missed and self.is_inside:
            self.heed()

    # ------------------------------------------------------------ calls

    def attempt(self, frame: wire.Frame) -> None:
        """Run one call, and say how it ended."""
        began, used = monotonic(), process_time()
        _, _, self.number, body = frame
        name, args, facts = orjson.loads(body)
        tell_log, keep = partial(self.tell_log, self.number), partial(self.keep, self.number)
        self.ctx = ctx = Context(
            **facts, report_progress=self.tell_progress, report_log=tell_log, keep_checkpoint=keep
        )
        handler = self.registry.find(name)
        if handler is None:
            outcome: Outcome = failed("UnknownHandler", f"this process has no handler {name!r}", retry=True)
        else:
            outcome = self.outcome_of(handler, args, ctx)
        self.ctx = None
        for answer in list(self.answers.values()):  # threads that the handler left behind
            answer.put(None)
        flags = wire.STOP_SEEN if ctx.stopped_as is not None else 0
        if self.is_worn_out():
            self.is_done = True
            flags |= wire.RETIRES
        is_long = monotonic() - began >= wire.TIMED_SECONDS
        self.say(wire.pack_outcome(self.number, outcome, flags, process_time() - used if is_long else None))

    def outcome_of(self, handler: Handler[..., Any], args: dict[str, Any], ctx: Context) -> Outcome:
        try:
            kwargs = handler.bind(args)
        except InvalidArguments as exc:
            return failed("InvalidArguments", str(exc), retry=False)
        return call_sync(handler, kwargs, ctx, self.bounds.max_result_bytes, self.call)

    def call(self, function: Callable[..., Any], kwargs: dict[str, Any]) -> Any:
        """Call a handler's function; here alone it can be interrupted."""
        try:
            self.is_inside = True
            if self.has_missed:
                self.heed()
            return function(**kwargs)
        finally:
            self.is_inside = False

    def is_worn_out(self) -> bool:
        """Whether this was the last call for this process, by its bounds."""
        self.done += 1
        bounds = self.bounds
        if bounds.max_tasks and self.done >= bounds.max_tasks:
            return True
        return bounds.max_memory_bytes > 0 and self.resident_bytes() > bounds.max_memory_bytes

    def resident_bytes(self) -> int:
        """How much memory this process has now; where the system does not say, the most it ever had."""
        if sys.platform != "linux":
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if self.memory is None:
            self.memory = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        return int(os.pread(self.memory, 200, 0).split()[1]) * resource.getpagesize()
