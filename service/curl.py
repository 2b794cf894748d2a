"""
A call as a command for a shell: `curl …`, to repeat it by hand.

Pure. Secrets are variables of the shell that the caller sets, `${SECRET_AUTHORIZATION:?}`, which curl is not run
without. What holds for one moment only is left out: the signature, and the completion URL. The fact to know: everything
else is quoted, so that nothing a submission holds is read by the shell.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from shlex import quote

from service.redaction import HIDDEN, Redaction, secrets_in

MOST_INLINE_BYTES = 8 * 1024
OF_THE_MOMENT = frozenset(("webhook-signature", "taskpost-completion-url"))


def curl_of(method: str, url: str, headers: Mapping[str, str], body: bytes, redaction: Redaction) -> str:
    """The command, on one line unless the body has several. A body over 8 KiB is read from the file `body`."""
    words = ["curl -sS -i", {"GET": "", "HEAD": "-I"}.get(method, f"-X {quote(method)}")]
    if method == "GET" and body:
        words[1] = "-X GET"
    if re.search(r"[\[\]{}]", url):
        words.append("-g")
    words.append("--path-as-is")
    words += [header(name, value, redaction) for name, value in headers.items() if name.lower() not in OF_THE_MOMENT]
    before, data = data_of(body)
    if data and not any(name.lower() == "content-type" for name in headers):
        words.append("-H 'Content-Type:'")  # else curl says that it is a form
    return before + " ".join(word for word in [*words, data, quoted_url(url)] if word)


def header(name: str, value: str, redaction: Redaction) -> str:
    if value == HIDDEN or redaction.hides(name):
        return f"-H {quote(f'{name}: ')}{variable(name)}"
    return f"-H {quote(f'{name}: {value}' if value else f'{name};')}"


def data_of(body: bytes) -> tuple[str, str]:
    """(what stands before curl, what it is told): the body as text, through base64, or from a file."""
    if not body:
        return "", ""
    if len(body) > MOST_INLINE_BYTES:
        return "", "--data-binary @body"
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = "\0"
    if re.search(r"[\0-\x08\x0b-\x1f\x7f-\x9f]", text):
        return f"printf %s {b64encode(body).decode()} | base64 -d | ", "--data-binary @-"
    return "", f"--data-raw {quote(text)}"


def quoted_url(url: str) -> str:
    """*url* with a variable in the place of each secret in its query."""
    words, rest = "", 0
    for start, end, name in secrets_in(url):
        words, rest = f"{words}{quote(url[rest:start])}{variable(name)}", end
    return words + (quote(url[rest:]) if rest < len(url) else "")


def variable(name: str) -> str:
    """The shell's variable for the secret called *name*; without a value the command does not run."""
    return f'"${{SECRET_{re.sub("[^A-Z0-9]", "_", name.upper())}:?}}"'
