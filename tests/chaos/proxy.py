"""
A TCP proxy between Taskpost and Redis, that loses, delays and cuts what Redis answers.

Owns nothing of either protocol: it counts bytes. Requests always arrive, so that what was done and not heard of is
what is tested.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

HOST = "127.0.0.1"
PASS, LOSE, DELAY, CUT = "pass", "lose", "delay", "cut"


class Proxy:
    """One port that leads to *target*; *mode* is what becomes of answers, and may change at any time."""

    def __init__(self, target: int) -> None:
        self.target, self.port, self.mode = target, 0, PASS
        self.delay_seconds = 0.0
        self.open: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Proxy]:
        server = await asyncio.start_server(self.serve, HOST, self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.drop()

    def set(self, mode: str, delay_seconds: float = 0.0) -> None:
        """Connections of before go on, unless answers were lost on them: there is no telling which those belong to."""
        if self.mode == LOSE and mode != LOSE:
            self.drop()
        self.mode, self.delay_seconds = mode, delay_seconds

    def drop(self) -> None:
        """Reset every connection."""
        for writer in self.open:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(HOST, self.target)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, back}
        self.open |= both
        try:
            await asyncio.gather(self.ask(reader, back), self.answer(there, writer))
        except OSError:
            pass
        finally:
            self.open -= both
            for one in both:
                one.transport.abort()

    async def ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while text := await reader.read(65536):
            writer.write(text)
            await writer.drain()
        writer.transport.abort()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while text := await reader.read(65536):
            if self.mode == DELAY:
                await asyncio.sleep(self.delay_seconds)
            if self.mode == LOSE:
                continue
            if self.mode == CUT:
                writer.write(text[: len(text) // 2])
                await writer.drain()
                break
            writer.write(text)
            await writer.drain()
        writer.close()
