"""
Settings of endpoints, for each namespace: their credentials (`auth`, as given), and whatever else is set for one.
"""

from __future__ import annotations

from typing import Any

from service.endpoint import endpoint_called_by
from service.sealing import Keyring
from service.store.fields import NamedSettings, SettingsBook, field_of
from service.store.scripts import Scripts
from service.task import rfc3339


class EndpointSettings(NamedSettings):
    """Reads and changes the settings of endpoints, all in shard 0; their names are those of `service.endpoint`."""

    def __init__(self, scripts: Scripts, keyring: Keyring) -> None:
        super().__init__(scripts, "E", keyring)


class EndpointBook(SettingsBook):
    """Every endpoint's settings as this process read them."""

    def auth(self, namespace: str, endpoint: str) -> dict[str, Any] | None:
        """The credentials of *endpoint*, None when it has none."""
        return self.documents.get(field_of(namespace, endpoint), {}).get("auth")

    def disabled(self, namespace: str, endpoint: str) -> dict[str, Any] | None:
        """Since when and why *endpoint* is not called, None when it is."""
        return self.known(namespace, endpoint).get("disabled")

    def why_not(self, namespace: str, url: str) -> str | None:
        """Why *url* is not called, in words, if its endpoint is disabled."""
        try:
            endpoint = endpoint_called_by(url.partition("?")[0])
        except ValueError:  # what is wrong with it others say
            return None
        off = self.disabled(namespace, endpoint)
        return None if off is None else f"{endpoint} is disabled since {rfc3339(off['at_ms'])}: {off['reason']}"
