"""
Runs the API: one process, or several that share a listening socket.

Owns signals and stopping: on SIGTERM or SIGINT, repeated or not, long-polls answer and streams end at once, what is
being answered has 20 seconds, and the exit status is 0. Refuses to listen beyond loopback without a key.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import ipaddress
import logging
import os
import resource
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
import uvloop

from service import __version__
from service.api.app import Api
from service.api.protocol import Connection
from service.api.slowness import Watch
from service.children import bind_to_parent
from service.egress import described
from service.errors import InvalidSetting, TaskpostError
from service.redaction import without_password
from service.settings import Settings

log = logging.getLogger("taskpost.web")

GRACE_SECONDS = 20
KILL_SECONDS = 24.0
KEEP_ALIVE_SECONDS = 75  # longer than the usual 60 s of a proxy, so that it never meets a closing connection
BACKLOG = 2048
PING_SECONDS = 15.0
ALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}  # gone after two minutes of silence on the wire
MOST_FILES = 65_536
OWN_FILES = 512  # connections to Redis, listening sockets, log files
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve(settings: Settings) -> int:
    """
    Listen and answer until told to stop; the exit status.

    Raises:
        InvalidSetting: the address is not to be listened on, cannot be, or the store is of another deployment.
    """
    check_address(settings)
    raise_file_limit()
    listening = listen(settings)
    host, port = listening.getsockname()[:2]
    try:
        url, redis = f"http://{f'[{host}]' if ':' in host else host}:{port}", without_password(settings.redis_url)
        log.info(
            "Listening on %s; Taskpost %s, Redis %s, processes: %d", url, __version__, redis, settings.web_processes,
            extra={"version": __version__, "url": url, "redis": redis, "processes": settings.web_processes},
        )  # fmt: skip
        log.info("URL tasks may call %s", described(settings))
        if settings.web_processes == 1:
            run_process(settings, listening)
            return 0
        return Family(settings, listening).run()
    finally:
        listening.close()
        log.info("Stopped listening on port %d", port)


def raise_file_limit() -> None:
    """Take as many connections as the machine allows: shells allow 1,024, and who follows events holds one each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def check_address(settings: Settings) -> None:
    """Raises InvalidSetting for an address that others can reach, unless there is a key or we are told to."""
    if settings.api_key or settings.require_keys or settings.insecure or is_loopback(settings.host):
        return
    raise InvalidSetting(
        f"TASKPOST_HOST={settings.host}: others can reach this address, and there is no API key. Set TASKPOST_API_KEY, "
        "or TASKPOST_REQUIRE_KEYS=1 and make keys with `taskpost keys create`, or say that everybody may submit tasks: "
        "--insecure (TASKPOST_INSECURE=1)."
    )


def is_loopback(host: str) -> bool:
    """Whether every address of *host* is this machine's own."""
    try:
        found = socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as exc:
        raise InvalidSetting(f"TASKPOST_HOST={host}: is no address: {exc.strerror}") from exc
    return all(ipaddress.ip_address(str(one[4][0]).partition("%")[0]).is_loopback for one in found)


def listen(settings: Settings) -> socket.socket:
    """The listening socket. Raises InvalidSetting when it cannot be had."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        settings.host or None, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it. Who lost power closes nothing, and streams have no end of their own.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ALIVE.items():
            if hasattr(socket, option):
                listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as exc:
        listening.close()
        taken = exc.errno == errno.EADDRINUSE
        why = "is taken by another program; choose another with --port" if taken else f"cannot be used: {exc.strerror}"
        raise InvalidSetting(f"TASKPOST_PORT={settings.port} on {settings.host}: {why}") from exc
    listening.setblocking(False)
    return listening


# ---------------------------------------------------------------- one process


class Config(uvicorn.Config):
    """uvicorn's configuration, with what ours needs to know besides."""

    most_connections = 0  # no bound


class Server(uvicorn.Server):
    """uvicorn's server with signals of our own, and an eye on slow clients."""

    def __init__(self, api: Api, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.api = api
        self.watch: Watch | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.watch = Watch(self.server_state.connections, self.api.runtime.settings)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Also to the end of what is being answered nobody may be slow."""
        await super().shutdown(sockets)
        if self.watch is not None:
            self.watch.stop()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals end the server in order, and are not raised again behind it."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in STOP_SIGNALS:
                loop.remove_signal_handler(number)

    def stop(self) -> None:
        """Nobody waits from here on."""
        if hasattr(self.api.runtime, "stopped"):
            self.api.runtime.stop()
        self.should_exit = True


def config_of(api: Api) -> Config:
    config = Config(
        api,
        http=Connection,
        ws="auto",
        ws_max_size=4096,  # what clients say over a WebSocket is short
        ws_ping_interval=PING_SECONDS,
        ws_per_message_deflate=False,  # it would take 36 KB of every client's, and time for each of them
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    config.most_connections = most_connections(api.runtime.settings)
    return config


def most_connections(settings: Settings) -> int:
    """How many clients a process takes at once, so that it can open files and speak to Redis whatever they do."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return settings.max_connections
    room = max(soft - OWN_FILES, soft // 2)
    return min(settings.max_connections, room) or room


def run_process(settings: Settings, listening: socket.socket, *, warns: bool = True) -> None:
    """
    Answer on *listening* until told to stop. *warns*: of what is wrong with Redis.

    Raises:
        TaskpostError: the store is not one to work with.
    """
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    # Requests leave no cycles behind; to look for them after each 700 objects costs a tenth of the speed.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    api = Api(settings)
    server = Server(api, config_of(api))
    api.runtime.when_broken, api.runtime.warns = server.stop, warns
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.serve([listening]))
    if api.runtime.broken is not None:
        raise api.runtime.broken


# ---------------------------------------------------------------- several processes


class Family:
    """Forked processes on one socket, each started again when it dies; they end with this one."""

    def __init__(self, settings: Settings, listening: socket.socket) -> None:
        self.settings, self.listening = settings, listening
        self.children: dict[int, float] = {}  # process id -> when it was started
        self.is_stopping = self.has_started = False
        self.status = 0

    def run(self) -> int:
        """Until told to stop, or until a process finds that none of them can work."""
        for number in STOP_SIGNALS:
            signal.signal(number, lambda *_: self.stop())
        for _ in range(self.settings.web_processes):
            self.start()
        deadline = float("inf")
        while self.children:
            self.look()
            if self.is_stopping:
                deadline = min(deadline, time.monotonic() + KILL_SECONDS)
                # Again and again: a process may have been born while the others were told.
                self.tell(signal.SIGKILL if time.monotonic() > deadline else signal.SIGTERM)
            time.sleep(0.05)
        return self.status

    def start(self) -> None:
        bind = bind_to_parent()
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        if (pid := os.fork()) != 0:
            self.children[pid], self.has_started = time.monotonic(), True
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
            return
        status = 1
        try:
            for number in STOP_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
            bind()
            run_process(self.settings, self.listening, warns=not self.has_started)
            status = 0
        except TaskpostError as exc:
            log.error("%s", exc)
            status = 2
        except BaseException:
            log.exception("a process of the API ended")
        finally:
            logging.shutdown()
            os._exit(status)

    def look(self) -> None:
        """Reap what has ended, and start it again: a setting that is wrong is wrong for all."""
        for pid, started in list(self.children.items()):
            done, code = os.waitpid(pid, os.WNOHANG)
            if not done:
                continue
            del self.children[pid]
            status = os.waitstatus_to_exitcode(code)
            if status == 2:
                self.status = 1
                self.stop()
            elif not self.is_stopping:
                log.error("a process of the API ended with status %d; it is started again", status)
                time.sleep(max(0.0, 1.0 - (time.monotonic() - started)))
                self.start()

    def stop(self) -> None:
        self.is_stopping = True
        self.tell(signal.SIGTERM)

    def tell(self, number: signal.Signals) -> None:
        for pid in self.children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
