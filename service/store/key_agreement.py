"""
Whether a process has the keys by which a deployment seals: looked at when it starts, so that a wrong key is one clear
error then, and not one for each task later.

`conf` of shard 0 notes which version seals, as the last process to start had it (0: nothing is sealed), and for each
version that has sealed a check, by which the right key is known and nothing else of it. Processes that come to other
keys at a rolling restart agree as long as each has the version that the others seal with.
"""

from __future__ import annotations

import contextlib

from service.errors import InvalidSetting, StoreFull
from service.sealing import VARIABLE, Keyring
from service.store import keys
from service.store.scripts import Scripts

SEALING = "sealing"
CHECK = "check:"


async def agree_on_keys(scripts: Scripts, keyring: Keyring) -> None:
    """Refuse keys that are not this deployment's; note which one seals from now on. Raises as `noted_keys`."""
    sealing, has_check = await noted_keys(scripts, keyring)
    changed: list[str | int] = [] if sealing == keyring.newest else [SEALING, keyring.newest]
    if keyring.is_sealing and not has_check:
        changed += [f"{CHECK}{keyring.newest}", keyring.check_of(keyring.newest)]
    if changed:
        with contextlib.suppress(StoreFull):  # who may only finish work starts all the same
            await scripts.command("HSET", keys.conf(0), *changed)


async def noted_keys(scripts: Scripts, keyring: Keyring) -> tuple[int, bool]:
    """
    Which version the deployment seals by, 0 for none, and whether there is a check of the newest of *keyring*.

    Raises:
        InvalidSetting: says which version is wrong or missing.
        StoreUnavailable: Redis did not answer.
    """
    names = [SEALING, *(f"{CHECK}{version}" for version in keyring.keys)]
    noted, *checks = await scripts.command("HMGET", keys.conf(0), *names)
    sealing = int(noted or 0)
    if sealing and sealing not in keyring.keys:
        has = ", ".join(map(str, sorted(keyring.keys))) or "none"
        raise InvalidSetting(
            f"{VARIABLE}: this deployment seals by version {sealing} of the key, and this process has {has}; give it "
            f"that key. To seal nothing more, start a process with {VARIABLE}=none,{sealing}:… first."
        )
    known = {version: found for version, found in zip(keyring.keys, checks, strict=True) if found is not None}
    for version, found in known.items():
        if found.decode() != keyring.check_of(version):
            raise InvalidSetting(
                f"{VARIABLE}: the key of version {version} is not the one by which this deployment has sealed; give "
                "it the right one, and a new key a version of its own"
            )
    return sealing, keyring.newest in known
