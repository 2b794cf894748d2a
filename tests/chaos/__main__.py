"""
The command: `python -m tests.chaos [--minutes N] [--seed S] [--only fault …] [--where single|sentinel|cluster] …`.

Rounds of about a minute, each with a seed of its own, which follows from the first. Ends with status 1 after findings,
and says how to play the round again.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
import traceback
from argparse import ArgumentParser, Namespace
from pathlib import Path

from tests.chaos.faults import FAULTS
from tests.chaos.report import Report
from tests.chaos.round import Plan, play


def asked(arguments: list[str]) -> Namespace:
    parser = ArgumentParser("scripts/chaos", description="Real clients and workers under random faults.")
    parser.add_argument("--minutes", type=float, default=1, help="how long, in rounds of about a minute (1)")
    parser.add_argument("--seed", type=int, help="of the first round; chance when left out, and printed")
    parser.add_argument("--only", nargs="+", default=[], metavar="FAULT", help=f"of {', '.join(FAULTS)}; none for none")
    parser.add_argument("--where", default="", choices=["single", "sentinel", "cluster"], help="chance when left out")
    parser.add_argument("--fsync", default="", choices=["always", "everysec", "no", "snapshots", "none"],
                        help="appendfsync, or how Redis does without; chance when left out")  # fmt: skip
    parser.add_argument("--kind", default="valkey", choices=["valkey", "redis"], help="the server (valkey)")
    parser.add_argument("--seconds", type=float, default=40, help="how long clients work in a round (40)")
    given = parser.parse_args(arguments)
    if unknown := set(given.only) - set(FAULTS) - {"none"}:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}. There are: {', '.join(FAULTS)}")
    return given


def main(arguments: list[str]) -> int:
    given = asked(arguments)
    seed = random.randrange(1_000_000) if given.seed is None else given.seed
    end, report = time.monotonic() + given.minutes * 60, Report()
    while True:
        plan = Plan(seed, given.seconds, given.where, given.kind, given.fsync, tuple(given.only))
        folder = Path(tempfile.mkdtemp(prefix=f"taskpost-chaos-{seed}-"))
        try:
            told = play(plan, folder)
        except Exception:  # something never came true, and that is a finding as well
            print(f"seed {seed} broke off:\n{traceback.format_exc()}", flush=True)
            report.failed(seed, folder, arguments)
        else:
            print(report.add(seed, told), flush=True)
            if told.verdict.findings:
                report.failed(seed, folder, arguments)
            else:
                shutil.rmtree(folder)
        seed += 1
        if time.monotonic() >= end:
            break
    print(report.text())
    return 1 if report.again else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
