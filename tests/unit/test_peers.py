"""
The peers that Taskpost is measured beside are defined whole; nothing is installed and nobody is asked for it.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import pytest

from benchmarks.__main__ import options_of
from benchmarks.figures import table
from benchmarks.peers import compare
from benchmarks.peers.definitions import BULLMQ, PEERS, PROGRAMS, Peer
from benchmarks.peers.running import PeerFailed, rate
from benchmarks.scale import TINY

every_peer = pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)


@every_peer
def test_a_peer_and_all_it_needs_have_exact_versions(peer: Peer) -> None:
    """Whoever repeats a figure next year gets what was measured."""
    if peer.is_node:
        locked = json.loads((BULLMQ / "package-lock.json").read_text())["packages"]
        wanted = locked[""]["dependencies"]
        assert wanted == json.loads(peer.requirements.read_text())["dependencies"]
        assert wanted == {name: locked[f"node_modules/{name}"]["version"] for name in wanted}
    else:
        lines = peer.requirements.read_text().splitlines()
        assert [] == [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)]
    for name in (peer.name, *(web.title for web in peer.webs)):
        assert re.fullmatch(r"\d[\d.]+", peer.version(name))


@every_peer
def test_the_program_of_a_peer_has_the_tasks_that_are_measured(peer: Peer) -> None:
    """A typing error costs no round of hours."""
    text = peer.program.read_text()
    wanted = {"nothing", "hold"} | ({"sleep"} if peer.waiting else set()) | ({"call"} if peer.calls else set())
    if peer.is_node:
        assert wanted | {"submitter", "worker"} <= set(re.findall(r"\w+", text))
    else:
        body = ast.parse(text).body
        functions = {one.name for one in body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert wanted | {"submit", "submit_many"} <= functions


def test_every_program_and_every_list_of_versions_belongs_to_a_peer() -> None:
    """Nothing lies about."""
    of_python = {name for name, peer in PEERS.items() if not peer.is_node}
    assert of_python == {path.stem.removeprefix("with_") for path in PROGRAMS.glob("with_*.py")}
    assert of_python == {peer.requirements.stem for peer in PEERS.values() if not peer.is_node}


def test_peers_are_all_unless_named(capsys: pytest.CaptureFixture[str]) -> None:
    """`--peers` alone is enough, and a typing error lists what there is."""
    assert list(PEERS) == options_of(["--peers"]).peers
    assert ["arq", "rq"] == options_of(["drain", "--peers", "arq,rq"]).peers
    with pytest.raises(SystemExit):
        options_of(["--peers", "celrey"])
    assert "--peers celrey: there is no such peer; choose from celery," in capsys.readouterr().err


def test_a_peer_that_fails_stands_in_the_table_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody wins by the other's absence."""

    def fail(*_: Any) -> Any:
        raise PeerFailed("arq 0.28.0: 3 of 200 tasks ran in 120 s: it said nothing")

    monkeypatch.setattr(compare, "running", fail)
    monkeypatch.setattr(compare.traceback, "print_exc", lambda: None)
    here: Any = type("Here", (), {"where": "valkey"})
    (figure,) = compare.reported(compare.working, TINY, "valkey", PEERS["arq"], here)
    assert (None, "working") == (figure.is_met, figure.name)
    assert "3 of 200 tasks ran" in table([figure])
    assert str(figure.document()["error"]).startswith("arq 0.28.0: 3 of 200")


def test_a_rate_counts_from_the_first_stamp_on() -> None:
    """The time before it is the start of a worker, not its work."""
    assert 1000 == rate([5_000_000, 6_000_000, 7_000_000])
