"""
Signs call-outs with the secrets of their namespace (Standard Webhooks 1.0).

The fact to know: a worker reads the secrets again when they are over two seconds old and a call needs them, so a
rotation is noticed within two seconds; a worker that calls nothing asks nothing.
"""

from __future__ import annotations

from service.signing import Signer
from service.store.secrets import Generation, Secrets, signer_of
from workers.push.call import Call
from workers.push.fresh import Fresh


class Signing:
    """The signers of the namespaces that this process has met."""

    def __init__(self, secrets: Secrets, versions: str = "v1,v1a") -> None:
        """*versions*: what signatures there are on each call, by comma."""
        self._secrets, self._versions = secrets, versions
        self._signers: dict[str, Fresh[Signer]] = {}

    async def sign(self, request: Call, namespace: str) -> None:
        """
        Put `webhook-signature` on *request*, whose id and timestamp stand in its headers.

        Raises:
            StoreUnavailable, StoreFull: the secrets were never read, and cannot be now.
        """
        signer = self._signers.get(namespace)
        if signer is None:
            made = Made(self._secrets, namespace, self._versions)
            signer = self._signers[namespace] = Fresh(made.signer, "the signing secrets")
        headers = request.headers
        signature = (await signer.get()).sign(headers["webhook-id"], int(headers["webhook-timestamp"]), request.content)
        headers["webhook-signature"] = signature


class Made:
    """The signer of a namespace, made again only when its secrets are others."""

    def __init__(self, secrets: Secrets, namespace: str, versions: str) -> None:
        self._secrets, self._namespace, self._versions = secrets, namespace, versions
        self._generations: list[Generation] = []
        self._signer = Signer([])

    async def signer(self) -> Signer:
        generations = await self._secrets.generations(self._namespace)
        if generations != self._generations:
            self._generations, self._signer = generations, signer_of(generations, self._versions)
        return self._signer
