"""
The scheduler process: does on time what no request and no worker brings about.

APScheduler is the clock; each duty is a small file. Any number of schedulers may run: every duty is safe to be
done twice, and none is owned by one process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal

import uvloop
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from service import __version__
from service.errors import InvalidSetting
from service.logs import configure
from service.redaction import without_password
from service.scheduler.carrier import Carrier
from service.scheduler.dealer import Dealer
from service.scheduler.duty import Duty
from service.scheduler.expirer import Expirer
from service.scheduler.firer import LOOK_SECONDS, Firer
from service.scheduler.forwarder import Forwarder
from service.scheduler.historian import Historian
from service.scheduler.janitor import Janitor
from service.scheduler.jumps import watch
from service.scheduler.recoverer import Recoverer
from service.scheduler.renewer import Renewer
from service.scheduler.watchman import Watchman
from service.settings import Settings
from service.store import Store

log = logging.getLogger("taskpost.scheduler")

CLOSE_SECONDS = 1.0


async def keep(settings: Settings) -> None:
    """Do the duties until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    opening = asyncio.create_task(Store.open(settings, counts_as="scheduler"))
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait([opening, stopped], return_when=asyncio.FIRST_COMPLETED)
    if not opening.done():
        opening.cancel()
        return
    store = opening.result()
    clock = AsyncIOScheduler()
    carrier = Carrier(store)
    duties: list[Duty | Carrier | Dealer | Watchman | Renewer] = [
        Recoverer(store, settings), Forwarder(store), Janitor(store, settings), Expirer(store, settings), carrier,
        Dealer(store), Historian(store), Watchman(store, settings), Renewer(store),
    ]  # fmt: skip
    for duty in duties:
        trigger = IntervalTrigger(seconds=duty.every_seconds, jitter=duty.every_seconds * 0.2)
        clock.add_job(duty.run, trigger, max_instances=1, coalesce=True, misfire_grace_time=None)
    firer = Firer(store, settings)
    every = IntervalTrigger(seconds=LOOK_SECONDS)
    firer.job = clock.add_job(firer.run, every, max_instances=1, coalesce=True, misfire_grace_time=None)
    clock.start()
    firer.listen()
    watching = asyncio.create_task(watch(clock))
    redis = without_password(settings.redis_url)
    extra = {"version": __version__, "redis": redis}
    log.info("scheduler: ready; Taskpost %s, Redis %s", __version__, redis, extra=extra)
    await stopped
    watching.cancel()
    await firer.close()
    await carrier.close()
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)  # it calls a duty that is broken off a failed one
    clock.shutdown(wait=False)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):
            await store.close()
    # The loop's handlers go with the loop; one more SIGTERM must not turn an orderly end into another.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    log.info("scheduler: stopped")


def run(settings: Settings) -> int:
    """Run the scheduler until it is told to stop; the exit status."""
    configure(settings.log_level, settings.log_format)
    # A duty that takes longer than its turn is passed over once, which it warns of: that is no news.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    try:
        uvloop.run(keep(settings))
    except InvalidSetting as exc:
        log.error("%s", exc)
        return 2
    return 0
