"""
`/v1/send/{url}`: whatever is sent here is passed on, durably.

Owns the order of checks, as `Submit` does; what the request means as a submission is `passthrough`'s business.
"""

from __future__ import annotations

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from service.api import bodies
from service.api.auth import Gate
from service.api.callers import ANYBODY
from service.api.problems import send_problem, unexpected
from service.api.submit import Submit
from service.errors import Problem
from service.passthrough import key_of, submission_of

PLACE = "/v1/send/"
PATH = "/v1/send/{url}"
METHODS = ("POST", "PUT", "PATCH", "DELETE")


class Passthrough:
    """The endpoint of all four methods."""

    def __init__(self, submit: Submit, gate: Gate) -> None:
        self.submit, self.gate = submit, gate
        self.most_bytes = submit.settings.max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            raw, query = scope["headers"], scope["query_string"]
            headers = dict(raw)
            key = key_of(query)
            brought = headers if key is None else {b"authorization": b"Bearer " + key}
            caller = await self.gate.admit(raw, brought, self.submit.scope)
            send = self.gate.rates.announced(caller, scope, send)
            body = await bodies.read_body(receive, headers, self.most_bytes, "body")
            submission = submission_of(
                scope["method"], scope["raw_path"].partition(PLACE.encode())[2], query, raw, body,
                is_authorization_ours=caller is not ANYBODY and key is None,
            )  # fmt: skip
            await self.submit.take(caller, scope, receive, send, headers, submission)
        except Problem as problem:
            await send_problem(send, problem, scope)
        except ClientDisconnect:
            pass
        except Exception as exc:
            await send_problem(send, unexpected(exc, scope), scope)
