"""`taskpost listen`, as the process that a developer starts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from service.signing import Signer, new_secret

SECRET = new_secret()


@contextmanager
def listening(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and the URL that it printed."""
    command = [sys.executable, "-m", "service.cli", "listen", "--port", "0", "--secret", SECRET, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            yield process, process.stderr.readline().split()[2]
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)


def signed(body: bytes) -> dict[str, str]:
    now = int(time.time())
    return {
        "webhook-id": "01M819EKHX02FJFH0TDFHXG001",
        "webhook-timestamp": str(now),
        "webhook-signature": Signer([SECRET]).sign("01M819EKHX02FJFH0TDFHXG001", now, body),
        "taskpost-attempt": "1",
        "taskpost-max-attempts": "4",
    }


def test_each_call_is_shown_with_its_signature_checked() -> None:
    """One line of facts, the body to be read; a signature over another body is seen."""
    with listening() as (process, url):
        assert process.stdout is not None
        body = b'{"n":1}'
        httpx.post(f"{url}hook?a=1", content=body, headers=signed(body), timeout=60)
        first = [process.stdout.readline() for _ in range(4)]
        httpx.post(f"{url}hook", content=b"other", headers=signed(body), timeout=60)
        second = process.stdout.readline()
    assert first[0].split()[1:] == [
        "POST", "/hook?a=1", "→", "200", "01M819EKHX02FJFH0TDFHXG001", "attempt", "1/4", "signature", "valid",
    ]  # fmt: skip
    assert ["    {\n", '      "n": 1\n', "    }\n"] == first[1:]
    assert "NOT VALID" in second


def test_options_decide_the_answers_and_a_query_wins() -> None:
    """As JSON too, a line each."""
    with listening("--json", "--fail", "1") as (process, url):
        assert process.stdout is not None
        first = httpx.post(url, headers=signed(b""), timeout=60)
        second = httpx.post(f"{url}?fail=0&status=204", timeout=60)
        lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert (500, 200) == (first.status_code, second.status_code)
    assert [(500, "signature valid"), (200, "not signed")] == [(one["status"], one["signature"]) for one in lines]
