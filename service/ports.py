"""
Whether a port can be listened on, and which one can instead.

Owns the sentences that say so before anything is started. Refuses to keep a port: between the look and the
use another program may take it, and then the one that listens says so.
"""

from __future__ import annotations

import errno
import socket

from service.errors import TaskpostError


class PortTaken(TaskpostError):
    """Nothing can listen there; the text says why and which port to choose instead."""


def check_port(host: str, port: int) -> None:
    """Raises PortTaken, with another port to choose, when nothing can listen there."""
    try:
        listen_once(host, port)
    except OSError as exc:
        where = f"Port {port} on {host}"
        if exc.errno == errno.EADDRINUSE:
            other = free_port(host, port + 1)
            raise PortTaken(
                f"{where} is taken by another program. Choose another one: --port {other}"
            ) from exc
        if exc.errno == errno.EACCES:
            raise PortTaken(f"{where} needs more rights. Choose one above 1023: --port 8080") from exc
        raise PortTaken(f"{where} cannot be used: {exc.strerror}. Choose an address with --host.") from exc


def free_port(host: str, first: int = 0) -> int:
    """A free port: the first at or above *first*, any one for 0. Raises PortTaken when there is none."""
    for port in range(first, 65_536) if first else (0,):
        try:
            return listen_once(host, port)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise PortTaken(f"{host} cannot be listened on: {exc.strerror}") from exc
    raise PortTaken(f"no port from {first} on is free on {host}")


def listen_once(host: str, port: int) -> int:
    """The port that was listened on for a moment. Raises OSError."""
    kind = socket.SOCK_STREAM
    family, _, protocol, _, address = socket.getaddrinfo(host or None, port, type=kind)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen()
        return int(probe.getsockname()[1])
