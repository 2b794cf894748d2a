"""
What the machine is, and what its processes use: processor time and memory as the kernel counts them (Linux).
"""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
LIBRARIES = (
    "uvicorn", "starlette", "uvloop", "httptools", "redis", "hiredis", "orjson", "jsonschema-rs", "aiohttp", "httpx"
)  # fmt: skip


def family(pid: int) -> list[int]:
    """*pid* and all that descend from it."""
    found = [pid]
    for one in found:
        for listing in Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(child) for child in listing.read_text().split()]
    return found


def cpu_us(pid: int) -> float:
    """Processor time of *pid* and its living descendants, all threads, in microseconds."""
    ticks = 0
    for one in family(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS * 1e6


def rss_bytes(pid: int) -> int:
    """Resident memory of *pid* and its descendants together."""
    return sum(int(Path(f"/proc/{one}/statm").read_text().split()[1]) * PAGE_BYTES for one in family(pid))


def described() -> dict[str, Any]:
    """Machine, versions and load average."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpus = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    memory_kb = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "processors": os.cpu_count(),
        "processor": cpus[0] if cpus else platform.machine(),
        "memory_gib": round(memory_kb / 2**20),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_average": [round(one, 2) for one in os.getloadavg()],
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def headline(about: dict[str, Any]) -> str:
    """`described` as lines."""
    libraries = ", ".join(f"{name} {number}" for name, number in about["libraries"].items())
    load = " ".join(f"{one:.2f}" for one in about["load_average"])
    return (
        f"{about['processors']} x {about['processor']}, {about['memory_gib']} GiB, {about['system']}, "
        f"load average {load}\nPython {about['python']}, {libraries}"
    )
