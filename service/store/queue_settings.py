"""
Settings of queues, for each namespace: what applies to tasks that are submitted to them and say nothing themselves.
"""

from __future__ import annotations

from typing import Any

from service.store.fields import NamedSettings, SettingsBook
from service.store.scripts import Scripts


class QueueSettings(NamedSettings):
    """Reads and changes the settings of queues, all of it in shard 0."""

    def __init__(self, scripts: Scripts) -> None:
        super().__init__(scripts, "Q")


class QueueBook(SettingsBook):
    """Every queue's settings as this process read them."""

    def complete(self, submission: dict[str, Any], namespace: str, queue: str) -> None:
        """Give *submission*, which goes to *queue* unless it names another, what the settings of its queue say."""
        settings = self.known(namespace, submission.get("queue", queue))
        if "callback" in settings and "callback" not in submission:
            submission["callback"] = settings["callback"]
