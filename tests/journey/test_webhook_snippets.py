"""The snippets of docs/webhooks.md, each run as a receiver would run it, against calls that a worker really made."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.egress import Egress
from service.signing import Signer, new_private_key, new_secret
from service.store.secrets import Generation
from tests.journey.receiver import receiver
from tests.workers.test_push_answer import OPTIONS, leased
from workers.outcome import Succeeded
from workers.push.client import PushClient
from workers.push.signing import Signing

DOCS = (Path(__file__).parents[2] / "docs/webhooks.md").read_text()
SNIPPET = re.compile(r"^## [^\n]*\n\n```(python|javascript|go|ruby|php|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SNIPPETS = dict(SNIPPET.findall(DOCS))
OLD, NEW = (Generation(new_secret(), new_private_key(), 0) for _ in range(2))
BODY = {"to": "Zoë", "n": [1, 2.5, None]}

# What goes around a snippet: it reads {secret, headers, body} and ends with 0 for genuine, 1 for not.
DRIVERS = {
    "python": """
import json, sys
asked = json.load(open(sys.argv[1]))
sys.exit(0 if is_genuine(asked["secret"], asked["headers"], asked["body"].encode()) else 1)
""",
    "javascript": """
const asked = JSON.parse(require("node:fs").readFileSync(process.argv[2]));
process.exit(isGenuine(asked.secret, asked.headers, Buffer.from(asked.body)) ? 0 : 1);
""",
    "ruby": """
require "json"
asked = JSON.parse(File.read(ARGV[0]))
exit(genuine?(asked["secret"], asked["headers"], asked["body"]) ? 0 : 1)
""",
    "php": """
$asked = json_decode(file_get_contents($argv[1]), true);
exit(is_genuine($asked['secret'], $asked['headers'], $asked['body']) ? 0 : 1);
""",
    "bash": """
is_genuine "$ID" "$TIMESTAMP" "$SIGNATURE" "$1.body"
""",
    "go": """
package main

import (
	"encoding/json"
	"net/http"
	"os"
)

func main() {
	var asked struct {
		Secret, Body string
		Headers      map[string]string
	}
	text, _ := os.ReadFile(os.Args[1])
	if json.Unmarshal(text, &asked) != nil {
		os.Exit(2)
	}
	header := http.Header{}
	for name, value := range asked.Headers {
		header.Set(name, value)
	}
	if !isGenuine(asked.Secret, header, []byte(asked.Body)) {
		os.Exit(1)
	}
}
""",
}
INTERPRETERS = {"javascript": "node", "python": "python3"}
Verify = Callable[[str, dict[str, str], str], bool]


def program(name: str) -> str | None:
    """Where the program is: on the PATH, or beside our Python."""
    return shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


@pytest.fixture(scope="module")
def command(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """How the snippet of a language is run; compiled once where it must be."""
    language = request.param
    needed = [INTERPRETERS.get(language, language), *(["openssl"] if language == "bash" else [])]
    for name in needed:
        if program(name) is None:
            reason = f"{name} is not installed (.ci/run installs it)"
            if not request.config.getoption("markexpr"):
                pytest.fail(f"the full suite leaves nothing out: {reason}")
            pytest.skip(reason)
    found = str(program(needed[0]))
    folder = tmp_path_factory.mktemp(language)
    if language == "go":
        (folder / "snippet.go").write_text(SNIPPETS["go"])
        (folder / "main.go").write_text(DRIVERS["go"])
        env = {**os.environ, "GOCACHE": str(folder / "cache"), "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}
        subprocess.run([found, "build", "-o", "verify", "snippet.go", "main.go"], cwd=folder, env=env, check=True)
        return [str(folder / "verify")]
    (folder / "snippet").write_text(SNIPPETS[language] + DRIVERS[language])
    return [found, str(folder / "snippet")]


@pytest.fixture
def verify(command: list[str], tmp_path: Path) -> Verify:
    """Whether the snippet takes a request for genuine."""

    def verify(secret: str, headers: dict[str, str], body: str) -> bool:
        asked = tmp_path / "asked"
        asked.write_text(json.dumps({"secret": secret, "headers": headers, "body": body}))
        (tmp_path / "asked.body").write_text(body)
        env = {**os.environ, "WEBHOOK_SECRET": secret, "ID": headers["webhook-id"]}
        env |= {"TIMESTAMP": headers["webhook-timestamp"], "SIGNATURE": headers["webhook-signature"]}
        ended = subprocess.run([*command, str(asked)], env=env, capture_output=True, timeout=60, text=True)
        assert (ended.returncode in (0, 1), "") == (True, ended.stderr)
        return ended.returncode == 0

    return verify


class Rotating:
    """Secrets in the middle of a rotation."""

    async def generations(self, namespace: str) -> list[Generation]:
        return [NEW, OLD]


async def delivered(**submission: Any) -> tuple[dict[str, str], str]:
    """Headers and body of a call as they arrive at a receiver."""
    client = PushClient(max_result_bytes=1000, egress=Egress(dev=True), signing=Signing(Rotating()))  # type: ignore[arg-type]
    with receiver() as endpoint:
        outcome = await client.call(leased(url=endpoint.url, **submission), OPTIONS, 1_795_305_630_500)
        headers, body = endpoint.next_signed()
    await client.aclose()
    assert isinstance(outcome, Succeeded)
    return headers, body.decode()


languages = pytest.mark.parametrize("command", DRIVERS, indirect=True)


@languages
async def test_a_real_call_is_genuine(verify: Verify) -> None:
    """With the old secret and with the new one while they rotate, with a body and without one."""
    for submission in ({"body": BODY}, {}):
        headers, body = await delivered(**submission)
        assert [True, True, False] == [verify(one, headers, body) for one in (OLD.secret, NEW.secret, new_secret())]


@languages
async def test_what_was_changed_is_not(verify: Verify) -> None:
    """The body, the id, the time, the signature; each alone."""
    headers, body = await delivered(body=BODY)
    assert not verify(NEW.secret, headers, body.replace("2.5", "2.6"))
    assert not verify(NEW.secret, headers, body + "\n")
    for name, value in (
        ("webhook-id", "01M819EKHX02FJFH0TDFHXG001"),
        ("webhook-timestamp", str(int(headers["webhook-timestamp"]) + 1)),
        ("webhook-timestamp", "a[$(touch /tmp/never)]"),
        ("webhook-signature", "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="),
        ("webhook-signature", "v1, v1 nonsense"),
        ("webhook-signature", headers["webhook-signature"].replace("v1,", "v2,")),
    ):
        assert not verify(NEW.secret, {**headers, name: value}, body), (name, value)


@languages
async def test_what_is_old_is_not(verify: Verify) -> None:
    """Signed rightly, and sent again by somebody who recorded it."""
    now = int(time.time())
    for sent, expected in ((now - 280, True), (now - 330, False), (now + 330, False)):
        signed = Signer([NEW.secret]).sign("01M8", sent, b"{}")
        headers = {"webhook-id": "01M8", "webhook-timestamp": str(sent), "webhook-signature": signed}
        assert expected == verify(NEW.secret, headers, "{}")


def test_there_is_a_snippet_for_six_languages() -> None:
    """And each of them is run here."""
    assert DRIVERS.keys() == SNIPPETS.keys()
