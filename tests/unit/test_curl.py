"""A call as a command: what a shell makes of it is what was sent. Each is run, with a curl that tells its arguments."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from service.curl import MOST_INLINE_BYTES, curl_of
from service.redaction import Redaction

URL = "https://a.example/hooks"
NASTY = "'; touch hurt; echo \"$(touch hurt)`touch hurt`\\ !! \n\t# end"
TOLD = '#!/bin/sh\nfor word in "$@"; do printf "%s\\0" "$word"; done > words\ncat > stdin\n'


@pytest.fixture
def shell(tmp_path: Path):
    """Runs a command, and answers (the words that curl got, what came to it by its standard input)."""
    (tmp_path / "curl").write_text(TOLD)
    (tmp_path / "curl").chmod(0o700)

    def run(command: str, **env: str) -> tuple[list[str], bytes]:
        path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, env=path | env, stdin=subprocess.DEVNULL, check=True)
        assert not (tmp_path / "hurt").exists()
        return (tmp_path / "words").read_bytes().decode().split("\0")[:-1], (tmp_path / "stdin").read_bytes()

    return run


def words_of(shell, method="POST", url=URL, headers=None, body=b"", **env: str) -> tuple[list[str], bytes]:
    return shell(curl_of(method, url, headers or {}, body, Redaction()), **env)


def test_method_headers_and_body_arrive(shell) -> None:
    words, _ = words_of(shell, "PUT", headers={"Content-Type": "application/json", "X-Empty": ""}, body=b'{"a":1}')
    assert ["-X", "PUT"] == words[2:4]
    assert ["-H", "Content-Type: application/json", "-H", "X-Empty;", "--data-raw", '{"a":1}', URL] == words[5:]


@pytest.mark.parametrize(("method", "said"), [("GET", []), ("HEAD", ["-I"]), ("DELETE", ["-X", "DELETE"])])
def test_methods_without_a_body(shell, method, said) -> None:
    assert ["-sS", "-i", *said, "--path-as-is", URL] == words_of(shell, method)[0]


def test_nothing_that_was_submitted_is_read_by_the_shell(shell) -> None:
    """Quotes, dollars, backticks and line ends are what they are, in every place."""
    words, _ = words_of(shell, "X'$(touch hurt)", f"{URL}?q='$(touch${{IFS}}hurt)'", {"X-'`": NASTY}, NASTY.encode())
    assert ["-X", "X'$(touch hurt)", "-g", "--path-as-is", "-H", f"X-'`: {NASTY}", "-H", "Content-Type:"] == words[2:10]
    assert ["--data-raw", NASTY, f"{URL}?q='$(touch${{IFS}}hurt)'"] == words[10:]


def test_a_body_that_looks_like_a_file_is_none(shell) -> None:
    assert ["--data-raw", "@/etc/passwd", URL] == words_of(shell, body=b"@/etc/passwd")[0][-3:]


@pytest.mark.parametrize("body", [b"\xff\x00'", bytes(range(256)), b"\x1b[2J", "\x9b2J".encode()])
def test_a_body_that_is_no_text_goes_through_base64(shell, body) -> None:
    """A terminal shows no control characters of somebody else's."""
    words, stdin = words_of(shell, body=body)
    assert ["--data-binary", "@-", URL] == words[-3:]
    assert body == stdin


def test_a_large_body_is_read_from_a_file(shell) -> None:
    """A command is for people."""
    assert ["--data-binary", "@body", URL] == words_of(shell, body=b"x" * (MOST_INLINE_BYTES + 1))[0][-3:]


def test_secrets_are_variables(shell) -> None:
    """In header fields and in the query; what is no secret by its name but was hidden is one too."""
    headers = {"Authorization": "Bearer x", "X-Odd": "[hidden]"}
    command = curl_of("POST", f"{URL}?a='&token=x&b=2", headers, b"", Redaction())
    assert "x&" not in command
    assert "Bearer" not in command
    values = {"SECRET_AUTHORIZATION": "Bearer '$HOME", "SECRET_TOKEN": "t&k", "SECRET_X_ODD": "o"}
    words, _ = shell(command, **values)
    assert ["-H", "Authorization: Bearer '$HOME", "-H", "X-Odd: o", f"{URL}?a='&token=t&k&b=2"] == words[-5:]
    with pytest.raises(subprocess.CalledProcessError):
        shell(command, SECRET_TOKEN="t", SECRET_X_ODD="o")


def test_what_holds_for_a_moment_is_left_out() -> None:
    """An old signature is refused, and the completion URL of an attempt that is over does nothing."""
    headers = {"webhook-signature": "v1,x", "Taskpost-Completion-Url": "https://t.example/x", "webhook-id": "m"}
    assert f"curl -sS -i -X POST --path-as-is -H 'webhook-id: m' {URL}" == curl_of(
        "POST", URL, headers, b"", Redaction()
    )
