"""See fixtures.py."""

from tests.faults.fixtures import deployment, start, store

__all__ = ["deployment", "start", "store"]
