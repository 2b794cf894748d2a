"""
Versions of what users change: a change takes effect on what it was decided on, or not at all (RFC 9110, 13.1).
"""

from __future__ import annotations

from service.api.runtime import Asked
from service.errors import PreconditionFailed


def check_version(asked: Asked, version: int | str | None, what: str) -> None:
    """
    Let a request go on if its If-Match and If-None-Match allow that; *version* is that of *what* is there, None for
    none.

    Raises:
        PreconditionFailed: it was decided on another version.
    """
    wanted, unwanted = asked.headers.get(b"if-match"), asked.headers.get(b"if-none-match")
    if unwanted == b"*" and version is not None:
        raise PreconditionFailed("there is one already, and If-None-Match: * asks for none", version=version)
    if wanted is None:
        return
    given = [one.strip().removeprefix("W/").strip('"') for one in wanted.decode("latin-1").split(",")]
    if version is None or not {"*", str(version)} & set(given):
        now = "does not exist" if version is None else f"is of version {version}"
        raise PreconditionFailed(f"{what} {now}; read it again, and decide again", version=version)
