"""What rounds came to, for people: counts, faults, duplicates with their reasons, the slowest recovery, findings."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path

from tests.chaos.checker import Loss
from tests.chaos.round import Told

MOST_TOLD = 20


class Report:
    """Adds up rounds."""

    def __init__(self) -> None:
        self.rounds = 0
        self.counts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.duplicates: Counter[str] = Counter()
        self.recoveries: list[tuple[float, str, int]] = []
        self.losses: dict[str, list[Loss]] = {}
        self.again: list[str] = []

    def add(self, seed: int, told: Told) -> str:
        """Take a round in; what to say of it."""
        verdict = told.verdict
        self.rounds += 1
        self.counts += verdict.counts
        self.faults += told.faults
        self.duplicates += verdict.duplicates
        for loss in verdict.losses:
            before = self.losses.setdefault(f"{loss.name}, {told.fsync}", [])
            before.append(loss)
        self.recoveries += [(seconds, name, seed) for seconds, name in told.recoveries]
        counts = verdict.counts
        lines = [
            (
                f"seed {seed}, {told.where}, fsync {told.fsync}: {told.faults.total()} faults, "
                f"{counts['taken']} taken in, {counts['began']} runs, {verdict.duplicates.total()} duplicates, "
                f"{sum(one.many for one in verdict.losses)} lost with Redis, settled in {told.settled_seconds:.1f} s: "
                f"{len(verdict.findings)} findings"
            )
        ]
        lines += [f"  FINDING {text}" for text in verdict.findings[:MOST_TOLD]]
        if len(verdict.findings) > MOST_TOLD:
            lines.append(f"  … and {len(verdict.findings) - MOST_TOLD} more")
        return "\n".join(lines)

    def failed(self, seed: int, folder: Path, arguments: list[str]) -> None:
        """Note how to play a round again, and where its history lies."""
        given = [one for n, one in enumerate(arguments) if not is_of(arguments, n, ("--seed", "--minutes"))]
        self.again.append(f"scripts/chaos --seed {seed} --minutes 0 {shlex.join(given)}".rstrip() + f"   # {folder}")

    def text(self) -> str:
        """The summary."""
        told = [f"\n{self.rounds} rounds, {self.faults.total()} faults"]
        told += block("tasks", self.counts)
        told += block("faults", self.faults)
        told += block("runs that were repeated, by what explains them", self.duplicates)
        told += ["lost with Redis, within what docs/guarantees.md says:"] if self.losses else []
        for name, losses in self.losses.items():
            many, most = sum(one.many for one in losses), max(one.seconds for one in losses)
            told.append(f"  {many:7} in {len(losses)} times {name}; at most {most:.2f} s of work")
        if self.recoveries:
            seconds, name, seed = max(self.recoveries)
            told.append(f"slowest recovery: {seconds:.1f} s after {name} (seed {seed})")
        if self.again:
            told += ["", "Findings. To play these rounds again:", *(f"  {one}" for one in self.again)]
        else:
            told.append("nothing lost, nothing unexpected, every duplicate explained")
        return "\n".join(told)


def is_of(arguments: list[str], at: int, names: tuple[str, ...]) -> bool:
    """Whether the argument is one of these options, or the value of one."""
    return arguments[at].partition("=")[0] in names or (at > 0 and arguments[at - 1] in names)


def block(title: str, counts: Counter[str]) -> list[str]:
    return [f"{title}:", *(f"  {many:7} {name}" for name, many in counts.most_common())] if counts else []
