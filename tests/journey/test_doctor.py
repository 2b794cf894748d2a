"""`taskpost doctor` against real servers: healthy, broken in one way after the other, mended by what it said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.parts import system
from tests.servers import Server, until

pytestmark = pytest.mark.both_servers

ROOT = Path(__file__).parents[2]


def doctor(redis_url: str, *options: str, **settings: Any) -> tuple[int, dict[str, str], str]:
    """Exit status, what is wrong by check, and all that was printed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TASKPOST_", "REDIS_"))}
    env |= {f"TASKPOST_{name.upper()}": str(value) for name, value in settings.items()}
    words = [sys.executable, "-m", "service.cli", "doctor", "--json", *options]
    env["TASKPOST_REDIS_URL"] = redis_url
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    told = json.loads(done.stdout)
    wrong = {one["check"]: one["detail"] for one in told["findings"] if one["verdict"] != "ok"}
    return done.returncode, wrong, done.stdout


@pytest.mark.parametrize("kind", ["valkey", pytest.param("redis", marks=pytest.mark.full)])
def test_what_it_finds_goes_when_its_remedy_is_taken(kind: str, start_server: Callable[..., Server]) -> None:
    """Persistence and eviction wrong, nothing running: faults. Mended and started: exit status 0."""
    server = start_server(kind, maxmemory="1gb", **{"maxmemory-policy": "allkeys-lru"})
    status, wrong, printed = doctor(server.url)
    assert 1 == status
    assert 0 == doctor(server.url, "--lenient")[0], "a release goes on"
    assert "append-only" in printed
    assert "allkeys-lru" in printed
    for words in ("appendonly yes", "maxmemory-policy noeviction"):
        server.admin.execute_command("CONFIG SET", *words.split())
    until(lambda: not server.admin.info("persistence")["aof_rewrite_in_progress"], "the append-only file")
    with system(server.url) as running:
        here = {"url": running.url, "public_url": running.url}
        until(lambda: {"workers", "public url"} == set(doctor(server.url, **here)[1]), "all but a worker is well")
        running.start_worker()
        status, wrong, _ = doctor(server.url, **here)
        assert (0, {"public url"}) == (status, set(wrong)), "loopback is a warning"
        assert 1 == doctor(server.url, "--strict", **here)[0]


def test_a_server_that_is_not_there_is_one_fault(start_server: Callable[..., Server]) -> None:
    """No traceback; what is wrong, and what to do."""
    server = start_server()
    server.kill()
    status, wrong, _ = doctor(server.url)
    assert 1 == status
    assert "does not answer" in wrong["redis"]
    assert 1 == doctor(server.url, "--lenient")[0], "nothing would start"


def test_a_blocked_config_is_no_fault(start_server: Callable[..., Server]) -> None:
    """As hosted servers have it."""
    server = start_server("valkey", appendonly="yes", maxmemory="1gb", **{"rename-command": 'CONFIG ""'})
    _, wrong, printed = doctor(server.url)
    assert "CONFIG is blocked" in printed
    assert "server" not in wrong


@pytest.mark.cluster
def test_each_node_of_a_cluster_is_looked_at(cluster_url: str) -> None:
    status, _, printed = doctor(cluster_url)
    assert 1 == status, "it keeps no append-only file"
    assert 3 == sum("no append-only file" in one["detail"] for one in json.loads(printed)["findings"])


def test_settings_that_cannot_be_read_are_said() -> None:
    """As every command says them."""
    done = subprocess.run(
        [sys.executable, "-m", "service.cli", "doctor"], cwd=ROOT, env={**os.environ, "TASKPOST_LEASE_MS": "5"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert 2 == done.returncode
    assert "TASKPOST_LEASE_MS=5: needs at least 2000" in done.stderr
