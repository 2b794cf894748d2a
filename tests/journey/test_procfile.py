"""The Procfile as a platform starts it, and `taskpost all` for platforms that give one process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.children import bind_to_parent
from service.ports import free_port
from tests.servers import Server, until

ROOT = Path(__file__).parents[2]
SECONDS = 90
KEY = "a-key-for-tests"


def environment(redis_url: str, **given: str) -> dict[str, str]:
    """What a platform sets: the address of Redis under its own name, and no more of ours than need be."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TASKPOST_", "REDIS_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    return env | {"REDIS_URL": redis_url, "PATH": path, "PYTHONPATH": str(ROOT), "TASKPOST_API_KEY": KEY, **given}


@contextmanager
def running(words: list[str], folder: Path, env: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], Any]]:
    """A program in *folder*, and what it has printed so far."""
    with tempfile.TemporaryFile() as output:
        program = subprocess.Popen(
            words, cwd=folder, env=env, stdout=output, stderr=subprocess.STDOUT, preexec_fn=bind_to_parent()
        )
        try:
            yield program, lambda: os.pread(output.fileno(), 1 << 20, 0).decode(errors="replace")
        finally:
            if program.poll() is None:
                program.kill()
                program.wait()


def does_a_task(url: str, printed: Callable[[], str]) -> None:
    """Ready, a task submitted and done."""
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {KEY}"}, trust_env=False, timeout=60) as api:

        def answers(path: str) -> Any:
            try:
                answer = api.get(path)
            except httpx.TransportError:
                return None
            return answer.json() if answer.status_code == 200 else None

        until(lambda: answers("/readyz"), "the API is ready")
        until(lambda: (answers("/v1/workers") or {}).get("items"), f"a worker lives; printed: {printed()}")
        wait = {"prefer": "wait=25"}
        done = api.post("/v1/tasks", json={"name": "demo.add", "args": {"a": 2, "b": 3}}, headers=wait).json()
        assert 5 == done.get("result"), done
        later = {"name": "demo.add", "args": {"a": 1, "b": 1}, "delay_seconds": 0.2}
        assert 2 == api.post("/v1/tasks", json=later, headers=wait).json().get("result")


def children_of(pid: int) -> list[int]:
    """The processes below *pid*, however deep."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found += [int(path.parent.name), *children_of(int(path.parent.name))]
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_the_procfile_starts_a_system_and_ends_in_order(tmp_path: Path, redis_url: str, sent: signal.Signals) -> None:
    """Port and Redis by the names that platforms use; a signal that is sent again and again hurries nobody."""
    port = free_port("127.0.0.1")
    text = (ROOT / "Procfile").read_text()
    assert "--host 0.0.0.0" in text
    (tmp_path / "Procfile").write_text(text.replace("--host 0.0.0.0", "--host 127.0.0.1"))
    env = environment(redis_url, PORT=str(port), TASKPOST_HANDLERS="workers.demo", WEB_CONCURRENCY="2")
    words = [sys.executable, "-m", "honcho", "start", "-p", str(port), "web", "worker", "scheduler"]
    with running(words, tmp_path, env) as (program, printed):
        does_a_task(f"http://127.0.0.1:{port}", printed)
        parts = children_of(program.pid)
        assert len(parts) >= 4
        for _ in range(3):
            for pid in parts:  # platforms tell every process
                if is_alive(pid):
                    os.kill(pid, sent)
        program.send_signal(signal.SIGTERM)
        program.wait(SECONDS)
        until(lambda: not any(map(is_alive, parts)), f"everything has ended; printed: {printed()}")
        assert "Traceback" not in printed()


def test_the_release_phase_passes_what_can_start(tmp_path: Path, redis_url: str) -> None:
    """It says what should be better, and goes on; without Redis it stops the release."""
    release = next(line for line in (ROOT / "Procfile").read_text().splitlines() if line.startswith("release:"))
    words = release.partition(":")[2].split()
    for url, status in ((redis_url, 0), (f"redis://127.0.0.1:{free_port('127.0.0.1')}/0", 1)):
        env = environment(url)
        done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, timeout=SECONDS, check=False)
        assert status == done.returncode, done.stdout
        assert b"append-only" in done.stdout or status


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_all_parts_run_in_one_place_and_end_with_it(tmp_path: Path, redis_url: str, sent: signal.Signals) -> None:
    """`taskpost all`: a part that dies comes back; SIGTERM, repeated, or one Ctrl-C ends all in order, status 0."""
    port = free_port("127.0.0.1")
    words = ["taskpost", "all", "--port", str(port), "--handlers", "workers.demo"]
    env = environment(redis_url)
    words[0] = str(Path(sys.executable).parent / "taskpost")
    with running(words, tmp_path, env) as (program, printed):
        does_a_task(f"http://127.0.0.1:{port}", printed)
        parts = children_of(program.pid)
        web = next(pid for pid in parts if b"web" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"))
        os.kill(web, signal.SIGKILL)
        until(lambda: "ended unexpectedly (SIGKILL)" in printed(), "it says so")
        does_a_task(f"http://127.0.0.1:{port}", printed)
        parts = children_of(program.pid)
        for _ in range(1 if sent == signal.SIGINT else 3):
            program.send_signal(sent)
        assert 0 == program.wait(SECONDS), printed()
        until(lambda: not any(map(is_alive, parts)), "nothing is left")


@pytest.mark.full  # the packaged Valkey has no TLS, the system's Redis has
def test_a_server_with_its_own_certificate_can_be_used(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """Heroku's rediss:// is self-signed: refused while it is checked, used when told not to."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subprocess.run([*made, "-subj", "/CN=redis", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    port = free_port("127.0.0.1")
    start_server(
        "redis", **{"tls-port": port, "tls-cert-file": certificate, "tls-key-file": key, "tls-auth-clients": "no"}
    )
    doctor = [str(Path(sys.executable).parent / "taskpost"), "doctor", "--lenient"]
    url = f"rediss://127.0.0.1:{port}/0"
    for verify, status in (("1", 1), ("0", 0)):
        env = environment(url, TASKPOST_REDIS_TLS_VERIFY=verify)
        done = subprocess.run(doctor, cwd=tmp_path, env=env, capture_output=True, timeout=SECONDS, check=False)
        assert status == done.returncode, done.stdout
    assert b"the certificate is not checked" in done.stdout
