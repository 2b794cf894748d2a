"""
How TLS shows a client certificate: a context for each pair of certificate and key.

The fact to know: beyond a number of contexts those that were used longest ago are forgotten; connections that are open
do not need them.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

MOST_CONTEXTS = 64


class Certificates:
    """The contexts of TLS, by certificate and key; those that were used last."""

    def __init__(self) -> None:
        self._contexts: OrderedDict[tuple[str, str], ssl.SSLContext] = OrderedDict()

    def context(self, pair: tuple[str, str]) -> ssl.SSLContext:
        """
        The context that shows *pair*; the same each time, since connections are kept by it.

        Raises:
            ssl.SSLError: the pair cannot be used by this machine's TLS.
        """
        context = self._contexts.get(pair)
        if context is None:
            context = self._contexts[pair] = context_of(*pair)
        self._contexts.move_to_end(pair)
        if len(self._contexts) > MOST_CONTEXTS:
            self._contexts.popitem(last=False)
        return context


def context_of(certificate: str, private_key: str) -> ssl.SSLContext:
    """A context that trusts what this machine trusts, and shows *certificate*."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    with held(f"{certificate.rstrip()}\n{private_key.rstrip()}\n".encode()) as place:
        context.load_cert_chain(place)
    return context


@contextmanager
def held(text: bytes) -> Iterator[str]:
    """The name of a file with *text*, which is in memory where the system can, since Python's TLS reads only files."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("taskpost-certificate")
        try:
            os.write(descriptor, text)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.NamedTemporaryFile() as kept:  # readable by us alone
        kept.write(text)
        kept.flush()
        yield kept.name
