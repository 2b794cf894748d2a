"""
The dashboard at /ui: the files of service/dashboard, read once and answered from memory.

Owns how browsers may keep and use them. Refuses to know what they do: they speak the public API, like everybody else.
The fact to know: files lie under a path that names what is in all of them (`/ui/-/<hash>/main.js`), so a browser keeps
them for ever and asks only whether the page itself has changed.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from starlette.types import Receive, Scope, Send

from service.api.problems import RawHeaders, send_body, send_problem
from service.errors import MethodNotAllowed, NotFound
from service.submission import shortened

FOLDER = Path(__file__).parents[1] / "dashboard"
PLACE = "/ui"
FILES = f"{PLACE}/-/"
TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".woff2": "font/woff2"}
SMALL_BYTES = 512  # below it packing gains nothing
FOREVER, ASK = b"public, max-age=31536000, immutable", b"no-cache"
# Nothing but our own files and our own API; no script in the page itself, no frame around it, no form that leads away.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)
GUARDS: RawHeaders = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"vary", b"accept-encoding"),
]


@dataclass
class File:
    """One file as browsers get it."""

    content: bytes
    media_type: str
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        self.etag = f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'

    @cached_property
    def packed(self) -> bytes | None:
        """Its content in gzip, None where that is no shorter."""
        packed = gzip.compress(self.content, 9, mtime=0) if len(self.content) > SMALL_BYTES else self.content
        return packed if len(packed) < len(self.content) else None


class Dashboard:
    """The ASGI application under /ui. With *is_fresh* the files are read again for each page, for who works on them."""

    def __init__(self, folder: Path = FOLDER, *, is_fresh: bool = False) -> None:
        self.folder, self.is_fresh = folder, is_fresh
        self.read()

    def read(self) -> None:
        """Read the folder. The page names the files under the hash of all of them."""
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        contents = {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in paths}
        whole = hashlib.sha256()
        for name, content in contents.items():
            whole.update(b"%d %b %d " % (len(name), name.encode(), len(content)) + content)
        self.hash = whole.hexdigest()[:12]
        self.files = {name: File(content, media_type(name)) for name, content in contents.items()}
        self.page = File(self.filled(contents["index.html"].decode()), media_type("index.html"))

    def filled(self, page: str) -> bytes:
        """*page* with the place of the files, and every module named, so that a browser fetches all of them at once."""
        place = f"{FILES}{self.hash}"
        modules = (name for name in self.files if name.endswith(".js") and name != "theme.js")
        links = "\n".join(f'  <link rel="modulepreload" href="{place}/{name}">' for name in modules)
        return page.replace("{{files}}", place).replace("  {{modules}}", links).encode()

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            detail = f"{shortened(scope['method'])} is not offered by {PLACE}, only GET, HEAD"
            await send_problem(send, MethodNotAllowed(detail, headers={"Allow": "GET, HEAD"}), scope)
            return
        path = scope["path"]
        if not path.startswith(FILES):
            if self.is_fresh:
                self.read()
            await answer(scope, send, self.page, ASK)
            return
        hash_, _, name = path.removeprefix(FILES).partition("/")
        file = self.files.get(name)
        if file is None:
            await send_problem(send, NotFound(f"the dashboard has no file {shortened(name)}"), scope)
            return
        # While a new version is rolled out, a page of the other one asks here: it gets what there is, and keeps none.
        await answer(scope, send, file, FOREVER if hash_ == self.hash else b"no-store")


def is_dashboard(path: str) -> bool:
    """Whether *path* is answered here."""
    return path == PLACE or path.startswith(f"{PLACE}/")


def media_type(name: str) -> str:
    return TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "text/plain; charset=utf-8"


async def answer(scope: Scope, send: Send, file: File, keep: bytes) -> None:
    """*file* as the browser can take it; 304 when it has it already."""
    given = dict(scope["headers"])
    is_packed = b"gzip" in given.get(b"accept-encoding", b"") and file.packed is not None
    etag = file.etag[:-1] + '-gzip"' if is_packed else file.etag
    headers = [*GUARDS, (b"etag", etag.encode()), (b"cache-control", keep)]
    known = {one.strip().removeprefix("W/") for one in given.get(b"if-none-match", b"").decode("latin-1").split(",")}
    if etag in known:
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    content = file.packed if is_packed and file.packed is not None else file.content
    headers.append((b"content-type", file.media_type.encode()))
    if is_packed:
        headers.append((b"content-encoding", b"gzip"))
    await send_body(send, 200, headers, content)
