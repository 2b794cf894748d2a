"""
Where the contract of the HTTP API lies: beside the packages in a checkout, inside `service` when installed.

Owns that one path. Refuses to read the file.
"""

from __future__ import annotations

from pathlib import Path

INSTALLED = Path(__file__).with_name("openapi.yaml")
CHECKOUT = Path(__file__).parents[1] / "openapi" / "openapi.yaml"


def contract_path() -> Path:
    """The contract. A checkout has no copy inside `service`, so that a change counts at once."""
    return INSTALLED if INSTALLED.exists() else CHECKOUT
