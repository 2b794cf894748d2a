"""
Pages for people: the contract at `/docs`, and what each type of problem means at `/problems/…`.

Owns what these pages may load: nothing from elsewhere, as their Content-Security-Policy says. The viewer is vendored
and kept compressed; viewer/LICENSE says whose it is.
"""

from __future__ import annotations

import gzip
import re
from functools import cache
from html import escape
from pathlib import Path

import orjson
from starlette.responses import Response

from service.api.answers import json_answer, listed
from service.api.runtime import Asked
from service.errors import NotFound
from service.problem_types import ProblemType, problem_types
from service.submission import shortened

FILES = Path(__file__).with_name("viewer")
MEDIA_TYPES = {"docs.js": "text/javascript", "pages.css": "text/css", "scalar-1.46.4.js": "text/javascript"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' {inline}; img-src 'self' data:; font-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SAFE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
# The viewer writes its own style sheets; our pages have theirs in a file.
DOCS = {**SAFE, "Content-Security-Policy": POLICY.format(inline="'unsafe-inline'"), "Cache-Control": "no-cache"}
PAGE = {**SAFE, "Content-Security-Policy": POLICY.format(inline="").replace(" ;", ";"), "Vary": "Accept"}
KEPT = {**SAFE, "Cache-Control": "public, max-age=3600"}

FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{root}docs/pages.css">
</head>
<body>
<nav>{nav}</nav>
{body}
</body>
</html>
"""


async def get_docs(_: Asked) -> Response:
    """`GET /docs`"""
    return Response((FILES / "docs.html").read_bytes(), headers=DOCS, media_type="text/html")


async def get_docs_file(asked: Asked) -> Response:
    """`GET /docs/{file}`"""
    name = asked.path["file"]
    if name not in MEDIA_TYPES:
        raise NotFound(f"there is nothing at /docs/{shortened(name)}; the documentation is at /docs")
    packed = FILES / f"{name}.gz"
    if not packed.exists():
        return Response((FILES / name).read_bytes(), headers=KEPT, media_type=MEDIA_TYPES[name])
    headers, body = {**KEPT, "Vary": "Accept-Encoding"}, packed.read_bytes()
    if re.search(rb"\b(gzip|\*)(?!\s*;\s*q=0(\.0*)?\s*(,|$))", asked.headers.get(b"accept-encoding", b"")):
        headers["Content-Encoding"] = "gzip"
    else:
        body = gzip.decompress(body)
    return Response(body, headers=headers, media_type=MEDIA_TYPES[name])


# ---------------------------------------------------------------- problems


async def list_problem_types(asked: Asked) -> Response:
    """`GET /problems`"""
    if not wants_page(asked):
        return listed([one.document() for one in problem_types().values()])
    return Response(index_page(), headers=PAGE, media_type="text/html")


async def get_problem_type(asked: Asked) -> Response:
    """`GET /problems/{type}`"""
    slug = asked.path["type"]
    found = problem_types().get(slug)
    if found is None:
        raise NotFound(f'there is no type of problem "{shortened(slug)}"; /problems lists those that there are')
    if not wants_page(asked):
        return json_answer(found.document())
    return Response(problem_page(found), headers=PAGE, media_type="text/html")


def wants_page(asked: Asked) -> bool:
    """Whether a browser asks: programs get JSON unless they say that they want HTML."""
    return b"text/html" in asked.headers.get(b"accept", b"")


@cache
def index_page() -> str:
    rows = "".join(
        f'<tr><td>{one.status}</td>'
        f'<td><a href="problems/{slug}">{escape(one.title)}</a><br>{marked(one.meaning)}</td></tr>'
        for slug, one in problem_types().items()
    )
    body = f"<h1>Problems</h1>\n<p>Why a request was refused (RFC 9457).</p>\n<table>{rows}</table>"
    return FRAME.format(title="Taskpost: problems", root="", nav='<a href="docs">API</a>', body=body)


def problem_page(problem: ProblemType) -> str:
    body = (
        f"<h1>{escape(problem.title)}</h1>\n"
        f'<p class="type">{problem.status} · <code>/problems/{problem.slug}</code></p>\n'
        f"<p>{marked(problem.meaning)}.</p>\n"
        f"<h2>What to do</h2>\n<p>{marked(problem.remedy)}</p>\n{shown_example(problem)}{shown_operations(problem)}"
    )
    nav = '<a href="../docs">API</a> · <a href="../problems">Problems</a>'
    return FRAME.format(title=f"Taskpost: {escape(problem.title)}", root="../", nav=nav, body=body)


def shown_example(problem: ProblemType) -> str:
    if problem.example is None:
        return ""
    text = escape(orjson.dumps(problem.example, option=orjson.OPT_INDENT_2).decode(), quote=False)
    return f"<h2>For example</h2>\n<pre><code>{text}</code></pre>\n"


def shown_operations(problem: ProblemType) -> str:
    rows = "".join(
        f'<li><a href="../docs#tag/{tag.lower()}/{method}{escape(path)}">'
        f'<span class="method">{method}</span>{escape(path)}</a></li>'
        for method, path, tag in problem.operations
    )
    return f"<h2>Where</h2>\n<ul>{rows}</ul>" if rows else "<h2>Where</h2>\n<p>Any operation may answer it.</p>"


def marked(text: str) -> str:
    """*text* as HTML, with `code` as such."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
