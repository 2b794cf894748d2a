"""
Metrics as Prometheus reads them: the text format 0.0.4.

Pure. A writer of our own, since nothing of a client library would be used but this: what is told comes from Redis, for
all processes, at the moment when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from service.meter import HISTOGRAM, METRICS, Labels

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Samples = Mapping[Labels, float | Sequence[float]]
ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def exposition(families: Mapping[str, Samples]) -> str:
    """
    *families* as text, in the order of `METRICS`. A histogram's value is a number for each bucket, one beyond, and the
    sum behind it where that is known.
    """
    if unknown := families.keys() - METRICS.keys():
        raise KeyError(f"no such metrics: {sorted(unknown)}")
    lines: list[str] = []
    for name, metric in METRICS.items():
        if not (samples := families.get(name)):
            continue
        lines += (f"# HELP {name} {metric.about}", f"# TYPE {name} {metric.kind}")
        for labels, value in samples.items():
            named = dict(zip(metric.labels, labels, strict=True))
            if metric.kind == HISTOGRAM:
                lines += histogram(name, named, value)  # type: ignore[arg-type]
            else:
                lines.append(f"{name}{braced(named)} {number(value)}")  # type: ignore[arg-type]
    return "\n".join([*lines, ""])


def histogram(name: str, named: Mapping[str, str], values: Sequence[float]) -> list[str]:
    ends = METRICS[name].ends
    *buckets, total = accumulate(values[: len(ends) + 1])
    lines = [
        f"{name}_bucket{braced({**named, 'le': number(end)})} {number(many)}"
        for end, many in zip(ends, buckets, strict=True)
    ]
    lines.append(f"{name}_bucket{braced({**named, 'le': '+Inf'})} {number(total)}")
    if len(values) > len(ends) + 1:
        lines.append(f"{name}_sum{braced(named)} {number(values[-1])}")
    return [*lines, f"{name}_count{braced(named)} {number(total)}"]


def braced(named: Mapping[str, str]) -> str:
    pairs = [f'{name}="{value.translate(ESCAPED)}"' for name, value in named.items()]
    return "{" + ",".join(pairs) + "}" if pairs else ""


def number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else repr(float(value))
