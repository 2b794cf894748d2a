"""
A running Taskpost whose workers have a handler with types of its own, and clients generated from what it serves.

Both are made once for all tests of this folder: the generators take longer than everything else.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import taskpost

ROOT = Path(__file__).parents[2]
JOURNEYS = Path(__file__).with_name("journeys")
DEADLINE_SECONDS = 1200


def run(*command: str | Path, cwd: Path = ROOT, **env: str) -> str:
    """What *command* prints; it must succeed."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env={**os.environ, **env}, text=True, capture_output=True,
        timeout=DEADLINE_SECONDS,
    )  # fmt: skip
    assert 0 == done.returncode, f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def service() -> Iterator[str]:
    """The URL of the service."""
    handlers = "workers.demo,tests.clients.handlers"
    with taskpost("web", "worker", "scheduler", handlers=handlers) as url:
        yield url


@pytest.fixture(scope="session")
def clients(service: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with all clients."""
    folder = tmp_path_factory.mktemp("clients")
    run(ROOT / "scripts" / "clients", "--contract", f"{service}/openapi.json?handlers=live", "--to", folder)
    return folder
