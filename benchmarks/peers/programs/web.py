"""
FastAPI before a peer, as people build it: `PEER_MODULE=with_celery uvicorn web:app`.

A peer whose way to submit blocks gets a plain `def` endpoint, which FastAPI runs on a thread.
"""

import inspect
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

peer = import_module(os.environ["PEER_MODULE"])


class Submission(BaseModel):
    name: str
    args: dict[str, Any]


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    if hasattr(peer, "begin"):
        await peer.begin()
    yield


app = FastAPI(lifespan=lifespan)

if inspect.iscoroutinefunction(peer.submit):

    @app.post("/v1/tasks", status_code=201)
    async def submit(submission: Submission) -> dict[str, str]:
        return {"id": str(await peer.submit(submission.name, **submission.args))}

else:

    @app.post("/v1/tasks", status_code=201)
    def submit_on_thread(submission: Submission) -> dict[str, str]:
        return {"id": str(peer.submit(submission.name, **submission.args))}
