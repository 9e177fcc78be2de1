"""What a part does beside serving, each in a process of its own.

Swift's updaters are run pass by pass: their own loops fork a process for every device, every time. Each loads what it needs
when it begins, after a pause.
"""

import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from swift.common import utils

from holdfast.services.s3.conf import UPDATE_EVERY_S

SEGMENTS_EVERY_S = 3600
RECLAIM = "holdfast.services.s3.inside.reclaim"


def run(name: str, conf: str) -> None:
    """For ever."""
    utils.monkey_patch()
    _DAEMONS[name](conf)


def _settings(conf: str, section: str) -> Any:
    return utils.readconf(conf, section, log_name=section)


def _object_updater(conf: str) -> None:
    """Tells name servers of objects that they could not be told of at once."""
    time.sleep(UPDATE_EVERY_S)  # right after a failure the processor belongs to the servers that are starting
    settings = _settings(conf, "object-updater")
    updater = import_module("swift.obj.updater").ObjectUpdater(settings)
    reclaimer = import_module(RECLAIM).Reclaimer(settings, updater.logger)
    while True:
        updater.begin = float(utils.Timestamp.now())
        for device in sorted(Path(updater.devices).iterdir()):
            updater.object_sweep(str(device))
        reclaimer.step()
        time.sleep(UPDATE_EVERY_S)


def _container_updater(conf: str) -> None:
    """Tells accounts how much their buckets hold."""
    time.sleep(UPDATE_EVERY_S)
    settings = _settings(conf, "container-updater")
    updater = import_module("swift.container.updater").ContainerUpdater(settings)
    reclaimer = import_module(RECLAIM).Reclaimer(settings, updater.logger)
    while True:
        updater.run_once()
        reclaimer.step()
        time.sleep(UPDATE_EVERY_S)


def _expirer(conf: str) -> None:
    """Deletes objects whose time has come."""
    time.sleep(UPDATE_EVERY_S)
    import_module("swift.obj.expirer").ObjectExpirer(_settings(conf, "object-expirer")).run_forever()


def _segments(conf: str) -> None:
    """Removes parts of multipart uploads that belong to no object."""
    settings = _settings(conf, "segments")
    internal = import_module("swift.common.internal_client")
    client = internal.InternalClient(settings["internal_client_conf_path"], "holdfast-segments", 3)
    cleaner = import_module("holdfast.services.s3.inside.segments").Cleaner(client)
    logger = utils.get_logger(settings, "segments")
    while True:
        time.sleep(SEGMENTS_EVERY_S)
        try:
            cleaner.clean()
        except Exception:
            logger.exception("the next round is in %d s", SEGMENTS_EVERY_S)


_DAEMONS: dict[str, Callable[[str], None]] = {
    "expirer": _expirer,
    "segments": _segments,
    "object-updater": _object_updater,
    "container-updater": _container_updater,
}
