"""
`taskpost encryption-key`: makes a key for encryption at rest, and counts what each key seals.
"""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections import Counter
from collections.abc import Mapping

from service.cli_parts import add_settings, settings_of
from service.cli_screen import Column, Screen
from service.sealing import MOST_VERSION, VARIABLE, Keyring, keyring_of, new_key
from service.settings import Settings

EPILOG = f"""\
A key is an entry of {VARIABLE}; the first seals, all of them open:

  export {VARIABLE}=$(taskpost encryption-key)

To rotate, give a new one to every process behind the old one, then put it first, and remove the old one when --uses
counts nothing by it any more.

examples:
  taskpost encryption-key                  a key of the version behind those that are set, or of version 1
  taskpost encryption-key --uses           how many values each key seals, and how many are plain"""


def define(parser: ArgumentParser) -> None:
    parser.description = "Make a key for the encryption of what tasks carry in Redis; or tell what the keys seal there."
    parser.epilog = EPILOG
    parser.add_argument("--version", metavar="N", type=version_given, help="version of the new key")
    parser.add_argument("--uses", action="store_true", help="count the values in Redis by the version that seals them")
    add_settings(parser, "redis")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def run(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    settings = settings_of(options, env)
    keyring = keyring_of(settings.encryption_keys)
    if options.uses:
        return show_uses(asyncio.run(counted(settings)), keyring, options, screen)
    version = options.version or min(max(keyring.keys, default=0) + 1, MOST_VERSION)
    key = new_key(version)
    screen.json({"version": version, "key": key}) if options.json else screen.line(key)
    return 0


def version_given(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) <= MOST_VERSION):
        raise ArgumentTypeError(f"{text}: needs a whole number from 1 to {MOST_VERSION}")
    return int(text)


async def counted(settings: Settings) -> Counter[tuple[int, str]]:
    """What there is. Raises TaskpostError."""
    from service.store import Store
    from service.store.census import census

    store = Store(settings)  # not opened: who only looks need not have the keys, and changes nothing
    try:
        return await census(store)
    finally:
        await store.close()


def show_uses(counts: Counter[tuple[int, str]], keyring: Keyring, options: Namespace, screen: Screen) -> int:
    versions = sorted({version for version, _ in counts} | set(keyring.keys))
    rows = []
    for version in versions:
        kinds = {what: many for (one, what), many in sorted(counts.items()) if one == version}
        uses = {
            "version": version,
            "is_here": version in keyring.keys,
            "is_sealing": version == keyring.newest,
            "values": sum(kinds.values()),
            "kinds": kinds,
        }
        if options.json:
            screen.json(uses)
        told = ", ".join(f"{many:,} {what}" for what, many in kinds.items()) or "may go" * (version != keyring.newest)
        here = "seals" if version == keyring.newest else "opens" if version in keyring.keys else "is missing here"
        rows.append((str(version) if version else "plain", here if version else "", f"{uses['values']:,}", told))
    if not options.json:
        screen.table([Column("VERSION"), Column("KEY"), Column("VALUES", is_right=True), Column("OF WHICH")], rows)
    return 0
