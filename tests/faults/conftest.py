"""See fixtures.py."""

import pytest

from tests.faults.fixtures import deployment, start, store

__all__ = ["deployment", "start", "store"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "allows(*what): what the test breaks on purpose, see tests/store/invariants.py")
