"""
A peer's own environment: made at its first use, and again when its versions change.

Everything lies under `.peers/` at the top of the checkout, which git ignores.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.peers.definitions import Peer
from benchmarks.system import ROOT

FOLDER = ROOT / ".peers"
INSTALL_SECONDS = 900


def environment(peer: Peer) -> Path:
    """The folder of its environment, installed. Raises RuntimeError with what the installer said."""
    folder = FOLDER / peer.name
    wanted, stamp = peer.requirements.read_text(), folder / "installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        print(f"installing {peer} into {folder.relative_to(ROOT)} …", file=sys.stderr, flush=True)
        (install_node if peer.is_node else install_python)(peer, folder)
        stamp.write_text(wanted)
    if peer.is_node:
        shutil.copy(peer.program, folder)  # Node looks for packages beside the program that imports them
    return folder


def install_python(peer: Peer, folder: Path) -> None:
    run([sys.executable, "-m", "venv", str(folder)])
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "--no-deps", "-r", str(peer.requirements)])


def install_node(peer: Peer, folder: Path) -> None:
    if shutil.which("npm") is None:
        raise RuntimeError("npm is not on the PATH: install Node.js 20 or newer with it")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(peer.requirements.with_name(name), folder)
    run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel", "error", "--prefix", str(folder)])


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}: {done.stderr.strip()[-1000:]}")
