"""How worker processes log: one line each, to standard error, unless the user's own configuration is there first."""

from __future__ import annotations

import logging


def configure(level: str) -> None:
    """Log at *level*; does nothing when handlers are configured already."""
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)-7s %(name)s  %(message)s")
