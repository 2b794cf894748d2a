"""
The command: `python -m benchmarks [names …] [--peers [NAMES]] [--json FILE] [--quick] [--server …] [--against DIR]`.
"""

from __future__ import annotations

import shutil
import signal
import sys
import time
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import orjson

from benchmarks import machine
from benchmarks.bulk import bulk
from benchmarks.dashboard import dashboard
from benchmarks.drain import drain
from benchmarks.figures import Figure, table
from benchmarks.flow import flow
from benchmarks.growth import growth
from benchmarks.latency import latency
from benchmarks.live import live
from benchmarks.memory import memory
from benchmarks.peers.compare import peers
from benchmarks.peers.definitions import PEERS
from benchmarks.scale import FULL, QUICK, TINY, Scale
from benchmarks.schedules import schedules
from benchmarks.sleep import sleep
from benchmarks.submit import batch, stream, submit
from benchmarks.urls import url

Benchmark = Callable[[Scale, str], Iterator[Figure]]
BENCHMARKS: dict[str, Benchmark] = {
    one.__name__: one
    for one in (submit, batch, stream, drain, latency, memory, sleep, url, schedules, bulk, live, flow, growth)
}
# Needs a browser: nobody gets it unasked.
BY_NAME_ONLY: dict[str, Benchmark] = {"dashboard": dashboard}
NAMES_HELP = f"which; all unless named: {', '.join(BENCHMARKS)}; only by name: {', '.join(BY_NAME_ONLY)}"


def options_of(arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(
        "scripts/bench", description="Measure Taskpost against floors on this machine; everything on loopback."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=NAMES_HELP)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all rounds of all figures there, too")
    parser.add_argument("--quick", action="store_const", const=QUICK, default=FULL, dest="scale", help="fewer of all")
    parser.add_argument("--tiny", action="store_const", const=TINY, dest="scale", help="only to see that it works")
    parser.add_argument("--server", choices=["valkey", "redis", "both"], default="both", help="which server (both)")
    parser.add_argument("--against", metavar="DIR", type=Path, help="flow: another checkout, to be measured in turn")
    parser.add_argument(
        "--peers", metavar="NAMES", nargs="?", const=",".join(PEERS), default="",
        help=f"beside other task queues, which are installed into .peers: all unless named, {','.join(PEERS)}",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    options.peers = [name for name in options.peers.split(",") if name]
    if unknown := [name for name in options.peers if name not in PEERS]:
        parser.error(f"--peers {','.join(unknown)}: there is no such peer; choose from {','.join(PEERS)}")
    if options.against:
        if not (options.against / "service" / "store").is_dir():
            parser.error(f"--against {options.against}: is no checkout of Taskpost")
        options.scale = replace(options.scale, against=options.against.resolve())
    if unknown := [name for name in options.names if name not in BENCHMARKS | BY_NAME_ONLY]:
        parser.error(f"there is no {', '.join(unknown)}; choose from {', '.join(BENCHMARKS | BY_NAME_ONLY)}")
    return options


def kinds_of(server: str) -> list[str]:
    """The server programs that are there. Ends the program when the one asked for is not."""
    has_redis = shutil.which("redis-server") is not None
    if server == "redis" and not has_redis:
        sys.exit("redis-server is not on the PATH: install it (Debian: apt-get install redis-server)")
    return [kind for kind in ("valkey", "redis") if server in (kind, "both") and (kind == "valkey" or has_redis)]


def chosen(options: Namespace) -> dict[str, Benchmark]:
    """What is to be measured: all, unless something is named."""
    named = {name: (BENCHMARKS | BY_NAME_ONLY)[name] for name in options.names}
    if options.peers:
        named["peers"] = partial(peers, names=options.peers)
    return named or BENCHMARKS


def measure(options: Namespace, kinds: Sequence[str], figures: list[Figure]) -> int:
    """Add to *figures* as they come: 0, or 1 when one of the benchmarks failed."""
    status = 0
    for name, measured in chosen(options).items():
        for kind in kinds:
            print(f"{name} on {kind} …", file=sys.stderr, flush=True)
            try:
                figures += measured(options.scale, kind)
            except Exception:  # hours of other figures must not be lost with this one
                traceback.print_exc()
                status = 1
    return status


def main(arguments: Sequence[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that nothing started is left
    options = options_of(arguments)
    kinds, figures = kinds_of(options.server), list[Figure]()
    about, began = machine.described(), time.monotonic()
    print(machine.headline(about), flush=True)
    try:
        status = measure(options, kinds, figures)
    except (KeyboardInterrupt, SystemExit):
        print("stopped; what was measured until then:", file=sys.stderr)
        status = 1
    print(f"\n{table(figures)}\n")
    missed = sum(figure.is_met is False for figure in figures)
    goals = sum(figure.is_met is not None for figure in figures)
    load_average = machine.described()["load_average"]
    print(
        f"{goals - missed} of {goals} goals met in {time.monotonic() - began:.0f} s; "
        f"load average at the end {load_average[0]:.2f}"
    )
    if options.json:
        shown = [figure.document() for figure in figures]
        document = {"machine": about, "load_average_at_end": load_average, "figures": shown}
        options.json.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
