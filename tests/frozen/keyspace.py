"""A whole keyspace as text: every key with its type and value, apart from what is told of live processes and events."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

# Streams of events are read from their ends, and of processes that are gone nothing is told.
HERE = str(Path(__file__).parents[2])
PASSING = (b"ev", b"workers", b"worker:", b"doing:", b"sess:", b"wake:", b"ctl:", b"meters", b"audit")


def text(value: bytes) -> str:
    """*value* without the place of this checkout, which tracebacks name."""
    return b64encode(value.replace(HERE.encode(), b"/srv/taskpost")).decode()


def lines_of(client: redis.Redis) -> Iterator[str]:
    """A line of JSON a key, by their names."""
    for key in sorted(client.scan_iter(count=1000)):
        if key.partition(b"}:")[2].startswith(PASSING):
            continue
        kind = client.type(key).decode()
        value: Any
        if kind == "string":
            value = text(client.get(key))
        elif kind == "list":
            value = [text(one) for one in client.lrange(key, 0, -1)]
        elif kind == "hash":
            value = {text(field): text(one) for field, one in sorted(client.hgetall(key).items())}
        elif kind == "zset":
            value = [[text(member), score] for member, score in client.zrange(key, 0, -1, withscores=True)]
        elif kind == "set":
            value = sorted(text(one) for one in client.smembers(key))
        else:
            raise ValueError(f"{key!r} is a {kind}, which nobody freezes")
        yield json.dumps([text(key), kind, value])


def load(client: redis.Redis, path: Path) -> None:
    """Put back what `lines_of` wrote; nothing expires."""
    for line in path.read_text().splitlines():
        name, kind, value = json.loads(line)
        key = b64decode(name)
        if kind == "string":
            client.set(key, b64decode(value))
        elif kind == "list":
            client.rpush(key, *map(b64decode, value))
        elif kind == "hash":
            client.hset(key, mapping={b64decode(field): b64decode(one) for field, one in value.items()})
        elif kind == "zset":
            client.zadd(key, {b64decode(member): score for member, score in value})
        else:
            client.sadd(key, *map(b64decode, value))
