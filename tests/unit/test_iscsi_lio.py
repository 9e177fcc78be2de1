"""The LIO engine's steps and their order, against a directory that plays configfs.

This shows what the engine would tell the kernel. What the kernel makes of it is not shown here, nor anywhere yet.
"""

import shutil
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.agent.runner_memory import MemoryHost, MemoryRunner
from holdfast.clock import SystemClock
from holdfast.errors import Conflict, DriverError
from holdfast.ports import Unit
from holdfast.services.iscsi.configfs import Configfs
from holdfast.services.iscsi.engine import Account, Engine, PathState, Portal, Target, Volume
from holdfast.services.iscsi.lio import LioEngine

TARGET = "iqn.2026-01.org.holdfast.test:group1"
CLIENT = "iqn.2026-01.org.holdfast.test:client"
SECRET = "a-secret-of-enough-characters"
TPG = f"iscsi/{TARGET}/tpgt_3"


class PlayedConfigfs(Configfs):
    """What the kernel puts into a new directory, and a record of all that is done."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        (root / "core").mkdir(parents=True)
        self.done: list[str] = []

    def make(self, path: str) -> bool:
        new = super().make(path)
        if new:
            self.done.append(f"make {path}")
            for name, value in _made_with(path).items():
                file = self.root / path / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(value)
        return new

    def remove(self, path: str) -> None:
        if self.exists(path):
            self.done.append(f"remove {path}")
            shutil.rmtree(self.root / path)

    def write(self, path: str, value: str) -> None:
        file = self.root / path
        if not file.exists():
            raise FileNotFoundError(path)
        self.done.append(f"{path} = {value}")
        file.write_text(f"TG Port Alias: {value}\n" if path.endswith("/alua_tg_pt_gp") else value)

    def link(self, path: str, target: str) -> None:
        if not self.exists(path):
            self.done.append(f"link {path}")
            super().link(path, target)

    def unlink(self, path: str) -> None:
        self.done.append(f"unlink {path}")
        super().unlink(path)
        group = (self.root / path).with_name("alua_tg_pt_gp")
        if group.exists():
            group.write_text("TG Port Alias: default_tg_pt_gp\n")


def _made_with(path: str) -> dict[str, str]:
    parts = path.split("/")
    match parts:
        case ["iscsi"]:
            return {"discovery_auth/userid": ""}
        case ["core", _, _]:
            names = ("emulate_write_cache", "emulate_3pc", "emulate_pr")
            return {
                **dict.fromkeys(("control", "wwn/vpd_unit_serial"), ""),
                **{f"attrib/{name}": "1" for name in names},
                "enable": "0",
                "alua/default_tg_pt_gp/alua_access_state": "0",
            }
        case ["core", _, _, "alua", _]:
            return {"tg_pt_gp_id": "0", "alua_access_type": "Implicit and Explicit", "alua_access_state": "0"}
        case ["iscsi", _, _]:
            attributes = ("authentication", "generate_node_acls", "demo_mode_write_protect")
            return {"enable": "0", **{f"attrib/{name}": "-1" for name in attributes}} | {
                f"{name}/.kernel": "" for name in ("np", "acls", "lun")
            }
        case ["iscsi", _, _, "acls", _]:
            names = ("userid", "password", "userid_mutual", "password_mutual")
            return {
                "info": "No active iSCSI Session",
                "attrib/nopin_timeout": "15",
                **{f"auth/{name}": "" for name in names},
            }
        case ["iscsi", _, _, "lun", _]:
            return {"alua_tg_pt_gp": "TG Port Alias: default_tg_pt_gp\n"}
        case ["iscsi", _, _, "acls", _, _]:
            return {"write_protect": "1"}
    return {}


class ShellRunner(MemoryRunner):
    """Runs units that end by themselves."""

    async def start(self, unit: Unit) -> None:
        await super().start(unit)
        subprocess.run(unit.argv, check=True, timeout=20)  # noqa: ASYNC221 - it ends at once
        await self.stop(unit.name, grace_s=0)


class Rig:
    def __init__(self, directory: Path) -> None:
        self.fs = PlayedConfigfs(directory / "target")
        self.host = MemoryHost()
        self.engine = LioEngine(ShellRunner(self.host), SystemClock(), self.fs, drain_s=0.5)
        self.file = directory / "volume"
        self.file.write_bytes(bytes(4096))
        self.volume = Volume(TARGET, 7, str(uuid.uuid4()), str(self.file), 4096)
        self.device = f"core/fileio_1000/{self.volume.uuid}"
        self.state = f"{self.device}/alua/tg3/alua_access_state"
        self.unit = f"{TPG}/lun/lun_7"

    def target(self, **more: Any) -> Target:
        return Target(**{"name": TARGET, "portals": (Portal("10.0.0.1"),), "tag": 3, "initiators": (CLIENT,), **more})

    async def ready(self, **more: Any) -> None:
        await self.engine.configure(self.target(**more))
        await self.engine.prepare(self.volume)

    def order(self, *steps: str) -> None:
        """They were done, in this order, the last time each."""
        at = [max(i for i, done in enumerate(self.fs.done) if done == step) for step in steps]
        assert at == sorted(at), [self.fs.done[i] for i in sorted(at)]


@pytest.fixture
def rig() -> Iterator[Rig]:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:  # /tmp may have no direct I/O
        yield Rig(Path(directory))


def yes() -> bool:
    return True


def test_the_engine_fits_the_port(rig: Rig, tmp_path: Path) -> None:
    engine: Engine = rig.engine
    assert engine.available() == ""
    without = LioEngine(MemoryRunner(rig.host), SystemClock(), Configfs(tmp_path / "nothing"))
    assert "iscsi_target_mod" in without.available()


def test_it_does_not_serve_where_the_boot_would_bring_paths_back_as_they_were(rig: Rig, tmp_path: Path) -> None:
    engine = LioEngine(MemoryRunner(rig.host), SystemClock(), rig.fs, units=tmp_path)
    assert engine.available() == ""
    (tmp_path / "multi-user.target.wants").mkdir()
    (tmp_path / "multi-user.target.wants" / "rtslib-fb-targetctl.service").symlink_to("/gone")
    assert "systemctl disable rtslib-fb-targetctl.service" in engine.available()


async def test_a_unit_is_standby_before_anybody_can_see_it(rig: Rig) -> None:
    await rig.ready()
    rig.order(
        f"{rig.device}/control = fd_dev_name={rig.file},fd_dev_size=4096,fd_async_io=1",
        f"{rig.device}/wwn/vpd_unit_serial = {rig.volume.serial}",
        f"{rig.device}/enable = 1",
        f"{rig.device}/attrib/emulate_write_cache = 0",
        f"{rig.device}/alua/default_tg_pt_gp/alua_access_state = 2",
        f"{rig.device}/alua/tg3/alua_access_type = 1",
        f"{rig.state} = 2",
        f"link {rig.unit}/{rig.volume.uuid}",
        f"{rig.unit}/alua_tg_pt_gp = tg3",
        f"link {TPG}/acls/{CLIENT}/lun_7/lun_7",
        f"{TPG}/acls/{CLIENT}/lun_7/write_protect = 0",
    )
    assert f"{rig.state} = 0" not in rig.fs.done
    assert (await rig.engine.status()).path(rig.volume) is PathState.STANDBY


async def test_only_a_permitted_promotion_makes_it_active(rig: Rig) -> None:
    await rig.ready()
    with pytest.raises(DriverError, match="may not"):
        await rig.engine.promote(rig.volume, lambda: False)
    assert (await rig.engine.status()).path(rig.volume) is PathState.STANDBY
    await rig.engine.promote(rig.volume, yes)
    assert rig.fs.read(rig.state) == "0" and (await rig.engine.status()).path(rig.volume) is PathState.ACTIVE
    await rig.engine.prepare(rig.volume, standby=False)
    await rig.engine.configure(rig.target())
    await rig.engine.promote(rig.volume, lambda: pytest.fail("it is active"))
    assert (await rig.engine.status()).path(rig.volume) is PathState.ACTIVE
    await rig.engine.prepare(rig.volume)
    assert (await rig.engine.status()).path(rig.volume) is PathState.STANDBY


async def test_the_write_that_promotes_is_a_strict_unit(rig: Rig) -> None:
    """Late on its way, it dies with what the guard kills."""
    await rig.ready()
    await rig.engine.promote(rig.volume, yes)
    assert ("start", f"iscsi-promote-{rig.volume.uuid}") in rig.host.history
    assert Unit("iscsi-promote", ()).strict


async def test_a_demotion_refuses_then_drains_then_shows_again(rig: Rig) -> None:
    await rig.ready()
    await rig.engine.promote(rig.volume, yes)
    rig.fs.done.clear()
    await rig.engine.demote(rig.volume)
    rig.order(
        f"{rig.state} = 2",
        f"unlink {TPG}/acls/{CLIENT}/lun_7/lun_7",
        f"unlink {rig.unit}/{rig.volume.uuid}",
        f"link {rig.unit}/{rig.volume.uuid}",
        f"{rig.unit}/alua_tg_pt_gp = tg3",
        f"link {TPG}/acls/{CLIENT}/lun_7/lun_7",
    )
    assert (await rig.engine.status()).path(rig.volume) is PathState.STANDBY


async def test_a_drain_that_does_not_end_is_no_demotion(rig: Rig) -> None:
    class Stuck(PlayedConfigfs):
        def __init__(self, like: PlayedConfigfs) -> None:
            self.root, self.done, self.stuck = like.root, like.done, threading.Event()

        def unlink(self, path: str) -> None:
            if path.endswith(rig.volume.uuid):
                self.stuck.wait(20)
            super().unlink(path)

    await rig.ready()
    await rig.engine.promote(rig.volume, yes)
    stuck = Stuck(rig.fs)
    engine = LioEngine(ShellRunner(rig.host), SystemClock(), stuck, drain_s=0.2)
    with pytest.raises(DriverError, match="did not drain"):
        await engine.demote(rig.volume)
    stuck.stuck.set()


async def test_what_a_crash_left_half_made_becomes_standby(rig: Rig) -> None:
    """The kernel makes groups active. A prepare that ended between the making and the setting must not leave one so."""
    await rig.engine.configure(rig.target())
    rig.fs.make("core/fileio_1000")
    rig.fs.make(rig.device)
    rig.fs.make(f"{rig.device}/alua/tg3")
    assert rig.fs.read(rig.state) == "0"
    await rig.engine.prepare(rig.volume, standby=False)
    assert (await rig.engine.status()).path(rig.volume) is PathState.STANDBY


async def test_who_may_log_in(rig: Rig) -> None:
    await rig.ready(chap=Account("joe", SECRET), mutual=Account("target", f"{SECRET}2"))
    auth = f"{TPG}/acls/{CLIENT}/auth"
    rig.order(f"{TPG}/attrib/authentication = 1", f"make {TPG}/acls/{CLIENT}", f"{auth}/password = {SECRET}")
    rig.order(f"{auth}/password_mutual = {SECRET}2", f"make {TPG}/np/10.0.0.1:3260", f"{TPG}/enable = 1")
    assert f"{TPG}/attrib/generate_node_acls = 0" in rig.fs.done
    other = f"{CLIENT}2"
    await rig.engine.configure(rig.target(initiators=(other,), portals=(Portal("10.0.0.2"),)))
    assert rig.fs.children(f"{TPG}/acls") == [other] and rig.fs.children(f"{TPG}/np") == ["10.0.0.2:3260"]
    assert rig.fs.read(f"{TPG}/acls/{other}/auth/userid") == "NULL"
    assert rig.fs.read(f"{TPG}/attrib/authentication") == "0"
    assert rig.fs.links(f"{TPG}/acls/{other}/lun_7")


async def test_taking_everything_away(rig: Rig) -> None:
    await rig.ready()
    await rig.engine.promote(rig.volume, yes)
    with pytest.raises(Conflict):
        await rig.engine.withdraw(TARGET)
    for _ in range(2):
        await rig.engine.remove(rig.volume)
        await rig.engine.withdraw(TARGET)
    assert rig.fs.children("iscsi") == ["discovery_auth"] and not rig.fs.children("core/fileio_1000")
    rig.order(f"{rig.state} = 2", f"unlink {rig.unit}/{rig.volume.uuid}", f"remove {rig.unit}", f"remove {rig.device}")


async def test_halting(rig: Rig) -> None:
    """Of what others have in LIO nothing is touched."""
    await rig.ready()
    await rig.engine.promote(rig.volume, yes)
    foreign = "iscsi/iqn.2020-01.org.example:theirs"
    for path in (foreign, f"{foreign}/tpgt_1"):
        rig.fs.make(path)
    rig.fs.write(f"{foreign}/tpgt_1/enable", "1")
    await rig.engine.halt()
    assert rig.fs.read(f"{TPG}/enable") == "0" and rig.fs.read(f"{foreign}/tpgt_1/enable") == "1"
    assert (await rig.engine.status()).path(rig.volume) is PathState.STANDBY


async def test_connections_are_told(rig: Rig) -> None:
    await rig.ready()
    rig.fs.write(
        f"{TPG}/acls/{CLIENT}/info",
        f"InitiatorName: {CLIENT}\nLIO Session ID: 1 ISID: 0x00\nCID: 0 Address 10.0.0.9 TCP StatSN: 0x1",
    )
    (found,) = (await rig.engine.status()).connections
    assert (found.target, found.initiator, found.address) == (TARGET, CLIENT, "10.0.0.9")


async def test_what_the_kernel_refuses_is_an_error(rig: Rig) -> None:
    with pytest.raises(DriverError, match="not configured"):
        await rig.engine.prepare(rig.volume)
    with pytest.raises(DriverError, match="not prepared"):
        await rig.engine.promote(rig.volume, yes)
    await rig.engine.configure(rig.target())
    rig.file.unlink()
    with pytest.raises(DriverError, match="cannot be served"):
        await rig.engine.prepare(rig.volume)
