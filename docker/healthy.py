"""
Is this container's part of Taskpost well? Exit status 0 says yes; the compose file asks with it.

`web`: its /readyz answers 200. `worker`: the API lists a live worker of this host.
The fact to know: it asks over HTTP only, as any user could, so it needs no way into Redis.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import urllib.request

API = os.environ.get("TASKPOST_URL", "http://127.0.0.1:8080")


def answer(path: str) -> object:
    headers = {"authorization": f"Bearer {os.environ.get('TASKPOST_API_KEY', '')}"}
    with urllib.request.urlopen(urllib.request.Request(API + path, headers=headers), timeout=4) as reply:  # noqa: S310
        return json.load(reply)


if sys.argv[1:] == ["web"]:
    answer("/readyz")
elif sys.argv[1:] == ["worker"]:
    workers = answer("/v1/workers")
    if not any(one["host"] == socket.gethostname() for one in workers["items"]):
        sys.exit(f"no live worker of {socket.gethostname()} is listed")
else:
    sys.exit("healthy.py needs the part to look at: web or worker")
