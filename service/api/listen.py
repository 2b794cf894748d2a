"""
Serves the echo endpoint alone, for `taskpost listen`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import replace

import uvicorn

from service.api.echo import Echo
from service.api.web import listen
from service.settings import Settings

GRACE_SECONDS = 1


def open_socket(host: str, port: int) -> socket.socket:
    """The listening socket; port 0 takes a free one. Raises InvalidSetting when it cannot be had."""
    return listen(replace(Settings(), host=host, port=port))


def serve_echo(echo: Echo, listening: socket.socket) -> None:
    """Answer until SIGINT or SIGTERM."""
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    config = uvicorn.Config(
        echo, ws="none", lifespan="off", interface="asgi3", log_config=None, access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )  # fmt: skip
    asyncio.run(uvicorn.Server(config).serve([listening]))
