"""The embedded server: its data lasts, its folder has one owner, and it ends with us."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
import redis

from service.embedded import EmbeddedServer, EmbeddedServerFailed, is_alive
from tests.servers import until

STARTS_ONE = """
import asyncio, sys
from pathlib import Path
from service.embedded import EmbeddedServer

async def main():
    server = EmbeddedServer(Path(sys.argv[1]))
    await server.start()
    print(server.process.pid, flush=True)
    await server.wait()

asyncio.run(main())
"""


async def test_what_was_written_is_there_after_the_next_start(tmp_path: Path) -> None:
    """Tasks survive the end of `taskpost up`."""
    server = EmbeddedServer(tmp_path / "data")
    await server.start()
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        assert client.config_get("appendfsync") == {"appendfsync": "everysec"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        client.set("kept", "yes")
    await server.stop()
    await server.start()
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        assert client.get("kept") == "yes"
    await server.stop()


async def test_a_data_folder_has_one_server(tmp_path: Path) -> None:
    """A second `taskpost up` on the same folder is told who has it and what to do, and harms nothing."""
    first, second = EmbeddedServer(tmp_path), EmbeddedServer(tmp_path)
    await first.start()
    with pytest.raises(EmbeddedServerFailed, match=rf"process {os.getpid()}.*--data"):
        await second.start()
    await second.stop()
    with redis.Redis.from_url(first.url) as client:
        assert client.ping()
    await first.stop()
    await second.start()
    await second.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals the children of a killed process")
async def test_the_server_ends_with_a_killed_parent_and_frees_its_folder(tmp_path: Path) -> None:
    """After a SIGKILL of `taskpost up` nothing is left running, and the next start finds the folder free."""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STARTS_ONE, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    server_id = (await parent.stdout.readline()).decode().strip()
    assert is_alive(server_id)
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    server = EmbeddedServer(tmp_path)
    await server.start()
    until(lambda: not is_alive(server_id), "the server of the killed process ends")
    await server.stop()


async def test_a_deep_folder_has_its_socket_elsewhere(tmp_path: Path) -> None:
    """A path too long for a socket file is no reason to fail."""
    server = EmbeddedServer(tmp_path / ("deep" * 20) / ("deeper" * 10))
    await server.start()
    with redis.Redis.from_url(server.url) as client:
        assert client.ping()
    await server.stop()


async def test_a_server_that_cannot_start_says_its_last_words(tmp_path: Path) -> None:
    """A damaged append-only file is named, not hidden behind a timeout."""
    server = EmbeddedServer(tmp_path)
    await server.start()
    await server.stop()
    manifest = tmp_path / "valkey" / "appendonlydir" / "appendonly.aof.manifest"
    manifest.write_text("not a manifest\n")
    with pytest.raises(EmbeddedServerFailed, match="manifest"):
        await server.start()
    await server.stop()
