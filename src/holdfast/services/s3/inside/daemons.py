"""What a part does beside serving, each in a process of its own.

Swift's updaters are run pass by pass: their own loops fork a process for every device, every time.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import swift.container.updater
import swift.obj.expirer
import swift.obj.updater
from swift.common import utils
from swift.common.internal_client import InternalClient

from holdfast.services.s3.conf import UPDATE_EVERY_S
from holdfast.services.s3.inside.reclaim import Reclaimer
from holdfast.services.s3.inside.segments import Cleaner

SEGMENTS_EVERY_S = 3600


def run(name: str, conf: str) -> None:
    """For ever."""
    utils.monkey_patch()
    _DAEMONS[name](conf)


def _settings(conf: str, section: str) -> Any:
    return utils.readconf(conf, section, log_name=section)


def _object_updater(conf: str) -> None:
    """Tells name servers of objects that they could not be told of at once."""
    settings = _settings(conf, "object-updater")
    updater = swift.obj.updater.ObjectUpdater(settings)
    reclaimer = Reclaimer(settings, updater.logger)
    while True:
        # First the pause: right after a failure the processor belongs to the servers that are starting.
        time.sleep(UPDATE_EVERY_S)
        updater.begin = float(utils.Timestamp.now())
        for device in sorted(Path(updater.devices).iterdir()):
            updater.object_sweep(str(device))
        reclaimer.step()


def _container_updater(conf: str) -> None:
    """Tells accounts how much their buckets hold."""
    settings = _settings(conf, "container-updater")
    updater = swift.container.updater.ContainerUpdater(settings)
    reclaimer = Reclaimer(settings, updater.logger)
    while True:
        time.sleep(UPDATE_EVERY_S)
        updater.run_once()
        reclaimer.step()


def _expirer(conf: str) -> None:
    """Deletes objects whose time has come."""
    swift.obj.expirer.ObjectExpirer(_settings(conf, "object-expirer")).run_forever()


def _segments(conf: str) -> None:
    """Removes parts of multipart uploads that belong to no object."""
    settings = _settings(conf, "segments")
    client = InternalClient(settings["internal_client_conf_path"], "holdfast-segments", 3)
    logger = utils.get_logger(settings, "segments")
    while True:
        time.sleep(SEGMENTS_EVERY_S)
        try:
            Cleaner(client).clean()
        except Exception:
            logger.exception("the next round is in %d s", SEGMENTS_EVERY_S)


_DAEMONS: dict[str, Callable[[str], None]] = {
    "expirer": _expirer,
    "segments": _segments,
    "object-updater": _object_updater,
    "container-updater": _container_updater,
}
