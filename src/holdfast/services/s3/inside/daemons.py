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

from holdfast.services.s3.conf import UPDATE_EVERY_S


def run(name: str, conf: str) -> None:
    """For ever."""
    utils.monkey_patch()
    _DAEMONS[name](conf)


def _settings(conf: str, section: str) -> Any:
    return utils.readconf(conf, section, log_name=section)


def _object_updater(conf: str) -> None:
    """Tells name servers of objects that they could not be told of at once."""
    updater = swift.obj.updater.ObjectUpdater(_settings(conf, "object-updater"))
    while True:
        # First the pause: right after a failure the processor belongs to the servers that are starting.
        time.sleep(UPDATE_EVERY_S)
        updater.begin = float(utils.Timestamp.now())
        for device in sorted(Path(updater.devices).iterdir()):
            updater.object_sweep(str(device))


def _container_updater(conf: str) -> None:
    """Tells accounts how much their buckets hold."""
    updater = swift.container.updater.ContainerUpdater(_settings(conf, "container-updater"))
    while True:
        time.sleep(UPDATE_EVERY_S)
        updater.run_once()


def _expirer(conf: str) -> None:
    """Deletes objects whose time has come."""
    swift.obj.expirer.ObjectExpirer(_settings(conf, "object-expirer")).run_forever()


_DAEMONS: dict[str, Callable[[str], None]] = {
    "expirer": _expirer,
    "object-updater": _object_updater,
    "container-updater": _container_updater,
}
