"""`taskpost verify`: valid or why not, by files, standard input and the exit status; no API is needed with a key."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import orjson
import pytest

from service import cli
from service.signing import Signer, new_private_key, new_secret, public_key_of

SECRET, PRIVATE = new_secret(), new_private_key()
BODY = '{"to": "Zoë"}\n'.encode()


@pytest.fixture
def received(tmp_path: Path) -> Path:
    """A folder with `body` and `headers` as curl -v shows them."""
    write(tmp_path, int(time.time()))
    return tmp_path


def write(folder: Path, sent: int) -> None:
    (folder / "body").write_bytes(BODY)
    signature = Signer([SECRET, PRIVATE]).sign("01M8", sent, BODY)
    lines = ["POST /hook HTTP/1.1", "> Host: a", f"> Webhook-Id: 01M8\r\n> WEBHOOK-timestamp: {sent}"]
    (folder / "headers").write_text("\n".join([*lines, f"webhook-signature:{signature}", ""]))
    (folder / "secret").write_text(f"{SECRET}\n")


def verify(folder: Path, *options: str) -> int:
    return cli.main(["verify", str(folder / "body"), "--header", f"@{folder / 'headers'}", *options])


def test_a_good_request_is_valid(received: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the secret, from a file or not, and by the public key."""
    for key in (SECRET, f"@{received / 'secret'}", public_key_of(PRIVATE)):
        assert 0 == verify(received, "--secret", key)
        assert ("valid: task 01M8\n", "") == capsys.readouterr()
    assert 0 == verify(received, "--secret", SECRET, "--json")
    assert {"valid": True, "reason": None} == orjson.loads(capsys.readouterr().out)


def test_a_changed_body_is_not(received: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 1, and what to look at."""
    (received / "body").write_bytes(BODY.strip())
    assert 1 == verify(received, "--secret", SECRET)
    out, err = capsys.readouterr()
    assert ("", True) == (out, err.startswith("not valid: no signature matches: the body was changed"))
    assert SECRET not in err


def test_an_old_request_is_not_unless_age_does_not_matter(received: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(received, int(time.time()) - 3600)
    assert 1 == verify(received, "--secret", SECRET)
    assert "s old, and 300 s are tolerated" in capsys.readouterr().err
    assert 0 == verify(received, "--secret", SECRET, "--tolerance", "2h")
    assert 0 == verify(received, "--secret", SECRET, "--any-age")


def test_a_body_may_come_on_standard_input(received: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(BODY)))
    assert 0 == cli.main(["verify", "-", "-H", f"@{received / 'headers'}", "--secret", SECRET])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "-H", "webhook-id: a", "--secret", SECRET], "'nowhere' cannot be read: No such file"),
        (["@body", "-H", "host: a", "--secret", SECRET], "none of webhook-id, webhook-timestamp, webhook-signature"),
        (["@body", "-H", "webhook-id: a", "--secret", "hunter2hunter2"], "needs whsec_ and"),
        (["@body", "-H", "webhook-id: a", "--secret", "@nowhere"], "'@nowhere' cannot be read"),
    ],
)
def test_what_cannot_be_checked_is_told(
    received: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    """Exit status 2, and no key in the sentence."""
    if said.startswith("needs"):
        arguments = [*arguments, "-H", "webhook-timestamp: 1", "-H", "webhook-signature: v1,AAAA", "--any-age"]
    status = cli.main(["verify", *(str(received / "body") if one == "@body" else one for one in arguments)])
    out, err = capsys.readouterr()
    assert (2, "", True) == (status, out, said in err), err
    assert "hunter2" not in err
    assert SECRET not in err
