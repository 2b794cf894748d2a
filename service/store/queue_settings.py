"""
Settings of queues, for each namespace: what holds back their tasks, and what applies to those that say nothing
themselves; and the routes by which tasks come to queues.
"""

from __future__ import annotations

from typing import Any

from service.routing import Route, read_routes, route_of
from service.sealing import Keyring
from service.store.fields import Document, NamedSettings, SettingsBook
from service.store.scripts import Scripts
from service.task import CALLBACK_QUEUE, DEFAULT_QUEUE, stored_queue

ROUTES = "#routes"  # where routes stand beside the queues; no queue can be called so


def named(field: str) -> tuple[str, str]:
    """(namespace, name) of what `field_of` made."""
    namespace, _, name = field.rpartition("/")
    return namespace, name


class QueueSettings(NamedSettings):
    """Reads and changes the settings of queues, all of it in shard 0."""

    def __init__(self, scripts: Scripts, keyring: Keyring) -> None:
        super().__init__(scripts, "Q", keyring)

    async def all_of(self, namespace: str) -> dict[str, Document]:
        """The settings of all queues of *namespace*, by name."""
        return {name: one for name, one in (await super().all_of(namespace)).items() if name != ROUTES}


class QueueBook(SettingsBook):
    """Every queue's settings, and every route, as this process read them."""

    def __init__(self, settings: QueueSettings) -> None:
        super().__init__(settings)
        self.read_from: object = None
        self.routes: dict[str, list[Route]] = {}

    def by_stored_name(self) -> dict[str, Document]:
        """All settings, by the names that queues have in Redis."""
        found = [(*named(field), settings) for field, settings in self.documents.items()]
        return {stored_queue(namespace, name): settings for namespace, name, settings in found if name != ROUTES}

    def route(self, submission: dict[str, Any], namespace: str) -> Route | None:
        """The route of *submission*, which names no queue; None when it has none."""
        if self.read_from is not self.documents:
            found = [(*named(field), one) for field, one in self.documents.items()]
            self.routes = {owner: read_routes(one["items"]) for owner, name, one in found if name == ROUTES}
            self.read_from = self.documents
        routes = self.routes.get(namespace)
        return route_of(submission, routes) if routes else None

    def queue_for(self, submission: dict[str, Any], namespace: str, queue: str) -> str:
        """Where *submission* goes: the queue that it names, else that of its route, else *queue*, its handler's."""
        if "queue" in submission:
            return str(submission["queue"])
        route = self.route(submission, namespace)
        return queue if route is None else route.queue

    def complete(self, submission: dict[str, Any], namespace: str, queue: str) -> Document:
        """
        Give *submission*, which goes to *queue*, what must stand in it of the settings of that queue, which are
        answered, and of its route.
        """
        if "queue" not in submission and "priority" not in submission:
            route = self.route(submission, namespace)
            if route is not None and route.priority is not None:
                submission["priority"] = route.priority
        settings = self.known(namespace, queue)
        if "callback" in settings and "callback" not in submission:
            submission["callback"] = settings["callback"]
        return settings

    def names(self, namespace: str) -> set[str]:
        """The queues of *namespace* that are declared: ours, those with settings, those that routes lead to."""
        self.route({}, namespace)
        start = f"{namespace}/"
        found = {field.removeprefix(start) for field in self.documents if field.startswith(start)} - {ROUTES}
        return {DEFAULT_QUEUE, CALLBACK_QUEUE, *found, *(route.queue for route in self.routes.get(namespace, ()))}
