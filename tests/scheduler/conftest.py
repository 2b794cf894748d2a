"""The same parts as in the tests of faults."""

from tests.faults.fixtures import deployment, start, store

__all__ = ["deployment", "start", "store"]
