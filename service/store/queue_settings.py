"""
Settings of queues, for each namespace: what applies to tasks that are submitted to them and say nothing themselves.
"""

from __future__ import annotations

from typing import Any

from service.store.fields import NamedSettings, SettingsBook
from service.store.scripts import Scripts
from service.task import stored_queue


class QueueSettings(NamedSettings):
    """Reads and changes the settings of queues, all of it in shard 0."""

    def __init__(self, scripts: Scripts) -> None:
        super().__init__(scripts, "Q")


class QueueBook(SettingsBook):
    """Every queue's settings as this process read them."""

    def by_stored_name(self) -> dict[str, dict[str, Any]]:
        """All of them, by the names that queues have in Redis."""
        return {stored_queue(*field.rsplit("/", 1)): settings for field, settings in self.documents.items()}

    def complete(self, submission: dict[str, Any], namespace: str, queue: str) -> dict[str, Any]:
        """
        Give *submission*, which goes to *queue* unless it names another, what must stand in it of the settings of its
        queue; they are answered.
        """
        settings = self.known(namespace, submission.get("queue", queue))
        if "callback" in settings and "callback" not in submission:
            submission["callback"] = settings["callback"]
        return settings
