"""
What applications declare becomes schedules: published by a worker that starts.

Owns who may change what: a schedule belongs to the application that declared it first, and goes by the newest version
of it, in the order in which versions were first seen. Whatever another application or the API has, stays.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from service.declared import Declared
from service.planning import plan
from service.schedule import PAUSED, Schedule, owner_of
from service.settings import Settings
from service.store import keys
from service.store.replies import pairs_of
from service.store.schedules import NEW, Schedules
from service.task import DEFAULT_NAMESPACE

log = logging.getLogger("taskpost.schedules")

MOST_TRIES = 8


@dataclass(frozen=True, slots=True)
class Application:
    """Who declares. Without a version, what starts last is the newest. *zone*: of schedules that name none."""

    namespace: str
    name: str
    version: str
    zone: str

    @classmethod
    def of(cls, settings: Settings) -> Application:
        """That of a worker."""
        name = settings.app or settings.handlers or "taskpost"
        return cls(settings.namespace or DEFAULT_NAMESPACE, name, settings.app_version, settings.timezone)

    @property
    def owner(self) -> dict[str, str]:
        return {"application": self.name, "version": self.version}

    @property
    def words(self) -> str:
        return f"{self.name} {self.version}".rstrip()


class Declarations:
    """Publishes. One for each `Store`."""

    def __init__(self, schedules: Schedules) -> None:
        self.schedules, self.scripts = schedules, schedules.scripts

    async def publish(self, app: Application, declared: Sequence[Declared]) -> None:
        """
        Have the schedules of *app* be those that are *declared*, unless a newer version of it has been seen.

        May be done again at any time; what was interrupted is done by whoever comes next.

        Raises:
            StoreUnavailable, StoreFull: some may have been published.
        """
        key = keys.application(app.namespace, app.name)
        if not declared and not await self.scripts.command("EXISTS", key):
            return
        number = await self.number_of(key, app.version)
        if not await self.is_newest(key, number):
            log.warning("%s is older than another version that has run: its schedules stay as they are", app.words)
            return
        for one in declared:
            await self.scripts.command("HSET", key, f"n:{one.name}", app.version)
            await self.take(app, key, number, one)
        await self.remove_others(app, key, number, {one.name for one in declared})
        if not await self.is_newest(key, number):  # while this went on
            await self.withdraw(app, key, declared)

    # ------------------------------------------------------------ versions

    async def number_of(self, key: str, version: str) -> int:
        """The number of *version*, which counts up as versions are first seen; 0 for none."""
        if not version:
            return 0
        found = await self.scripts.command("HGET", key, f"v:{version}")
        if found is None:
            number = await self.scripts.command("HINCRBY", key, "#", 1)
            await self.scripts.command("HSETNX", key, f"v:{version}", number)
            found = await self.scripts.command("HGET", key, f"v:{version}")
        return int(found)

    async def is_newest(self, key: str, number: int) -> bool:
        """Whether no version is newer; one without a number always is."""
        if not number:
            return True
        fields = await self.scripts.command("HGETALL", key)
        return all(int(value) <= number for field, value in texts_of(fields) if field.startswith("v:"))

    async def is_newer(self, key: str, owner: dict[str, Any], number: int) -> bool:
        """Whether what *owner* names is newer than the version of that *number*."""
        if not number or not owner["version"]:
            return False
        found = await self.scripts.command("HGET", key, f"v:{owner['version']}")
        return found is not None and int(found) > number

    # ------------------------------------------------------------ schedules

    async def take(self, app: Application, key: str, number: int, one: Declared) -> None:
        """Save one, if it is ours, and is not so already."""
        for _ in range(MOST_TRIES):
            before = await self.schedules.read(f"{app.namespace}/{one.name}")
            owner = before.definition.get("owner") if before else None
            if before and (owner is None or owner["application"] != app.name):
                if await self.mark(before, app.owner):
                    return
                continue
            if owner and (is_done(owner, app, one) or await self.is_newer(key, owner, number)):
                return
            if await self.save(app, one, before):
                return
        log.error("the schedule %s is changed by others all the time; it is for the next worker to publish", one.name)

    async def save(self, app: Application, one: Declared, before: Schedule | None) -> bool:
        """Whether it is settled."""
        now_ms = self.schedules.tasks.clock.now_ms()
        definition = dict(one.definition)
        is_paused = definition.pop("paused", False) if before is None else before.state == PAUSED
        created_ms = before.definition["created_ms"] if before else now_ms
        definition |= {"created_ms": created_ms, "updated_ms": now_ms}
        definition |= {"target": one.target} if one.target else {}
        schedule = Schedule(app.namespace, one.name, definition)
        try:
            due_ms = plan(schedule, before, schedule.timing(app.zone), now_ms, is_paused=is_paused)
        except ValueError as exc:
            log.warning("the schedule %s of %s is not published: it %s", one.name, one.place, exc)
            return True
        schedule.definition["owner"] = {**app.owner, "digest": one.digest}
        saved, _ = await self.schedules.save(schedule, before.version if before else NEW, due_ms)
        if saved:
            is_same = before is not None and before.definition["owner"].get("digest") == one.digest
            word = "new" if before is None else "as it was" if is_same else "changed"
            log.info("schedule %s: %s, from %s", one.name, word, one.place)
        return saved

    async def mark(self, schedule: Schedule, owner: dict[str, str] | None) -> bool:
        """Note at a schedule that is not ours who declares it too, None for nobody any more: whether that is noted."""
        if owner is not None:
            whose = owner_of(schedule.definition)
            other = f"the application {whose['application']}" if whose else "the API"
            log.warning(
                "the schedule %s is not published: there is one of that name, which belongs to %s; rename one of "
                "them, or delete that one and start a worker again",
                schedule.name,
                other,
            )
        if schedule.definition.get("also_declared_by") == owner:
            return True
        schedule.definition.pop("also_declared_by", None)
        schedule.definition |= {"also_declared_by": owner} if owner else {}
        saved, _ = await self.schedules.save(schedule, schedule.version, None)
        return saved

    async def remove_others(self, app: Application, key: str, number: int, declared: set[str]) -> None:
        """Remove what versions before have declared and this one does not."""
        for field, version in texts_of(await self.scripts.command("HGETALL", key)):
            name = field[2:]
            # The same version, elsewhere: another worker of it has other handlers.
            if field.startswith("n:") and name not in declared and not (app.version and version == app.version):
                await self.remove(app, key, number, name)

    async def remove(self, app: Application, key: str, number: int, name: str) -> None:
        for _ in range(MOST_TRIES):
            found = await self.schedules.read(f"{app.namespace}/{name}")
            owner = found.definition.get("owner") if found else None
            if found is None:
                break
            if owner is None or owner["application"] != app.name:
                also = found.definition.get("also_declared_by")
                if not also or also["application"] != app.name or await self.mark(found, None):
                    break
            elif await self.is_newer(key, owner, number):
                return
            elif (await self.schedules.drop(found.member, found.version))[0]:
                log.info("schedule %s: removed, since %s does not declare it any more", name, app.words)
                break
        await self.scripts.command("HDEL", key, f"n:{name}")

    async def withdraw(self, app: Application, key: str, declared: Sequence[Declared]) -> None:
        """Take back what a newer version, which has come meanwhile, did not see and does not declare."""
        fields = dict(texts_of(await self.scripts.command("HGETALL", key)))
        for one in declared:
            found = await self.schedules.read(f"{app.namespace}/{one.name}")
            owner = owner_of(found.definition) if found else None
            # Another worker of this version may have taken the note of it away already.
            if found and owner == app.owner and fields.get(f"n:{one.name}", app.version) == app.version:
                await self.schedules.drop(found.member, found.version)
                await self.scripts.command("HDEL", key, f"n:{one.name}")


def is_done(owner: dict[str, Any], app: Application, one: Declared) -> bool:
    """Whether this very declaration was published before; what was changed over the API since stands until another."""
    return bool(owner["version"] == app.version and owner.get("digest") == one.digest)


def texts_of(fields: Any) -> list[tuple[str, str]]:
    return [(field.decode(), value.decode()) for field, value in pairs_of(fields)]
