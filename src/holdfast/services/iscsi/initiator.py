"""One path to one logical unit: a login to one portal, and the commands of a disk.

For tests, benches and health probes. Paths to the same unit are joined in multipath.py.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from holdfast.errors import HoldfastError
from holdfast.ports import Clock
from holdfast.services.iscsi import scsi
from holdfast.services.iscsi.scsi import Access, BadAnswer, Caching, Capacity, Command, ScsiError
from holdfast.services.iscsi.session import Login, Session

_MOST_ATTENTIONS = 8
"""Unit attentions in a row that are taken for news; each is told once per path."""


class NoSuchUnit(HoldfastError):
    """The target has no logical unit of that number for this initiator."""

    http_status = 404


@dataclass(frozen=True, slots=True)
class Identity:
    """What a unit says about itself through one path."""

    wwid: str
    serial: str
    port_group: int | None
    tpgs: int
    """Access states: 0 the target has none, 1 implicit, 2 explicit, 3 both."""


class Path:
    """Commands may run concurrently; each ends within `timeout_s` seconds.

    Every command may raise ScsiError (the target refuses), PathLost (no answer; this path is at its end) or BadAnswer. Unit
    attentions are not errors: they are kept in `attentions`, and the command is sent again.
    """

    def __init__(self, session: Session, lun: int, timeout_s: float) -> None:
        self.session = session
        self.lun = lun
        self.timeout_s = timeout_s
        self.attentions: list[tuple[int, int]] = []
        """(ASC, ASCQ) of each, oldest first."""

    @property
    def portal(self) -> str:
        return self.session.portal

    async def run(self, command: Command, *, timeout_s: float | None = None) -> bytes:
        """Any command."""
        for attempt in range(_MOST_ATTENTIONS):
            try:
                return await self.session.run(self.lun, command, timeout_s=timeout_s or self.timeout_s)
            except ScsiError as error:
                if not error.unit_attention or attempt == _MOST_ATTENTIONS - 1:
                    raise
                self.attentions.append((error.asc, error.ascq))
        raise AssertionError("the last attempt returns or raises")

    async def inquiry(self) -> scsi.Inquiry:
        return scsi.parse_inquiry(await self.run(scsi.inquiry()))

    async def identify(self) -> Identity:
        """Raises NoSuchUnit too."""
        about = await self.inquiry()
        if about.device_type == scsi.NO_DEVICE:
            raise NoSuchUnit(
                f"{self.session.login.target} at {self.portal} has no LUN {self.lun} for {self.session.login.initiator}",
                "Check the number, and whether the volume is attached.",
            )
        names = scsi.parse_identification(await self.run(scsi.inquiry(scsi.VPD_IDENTIFICATION)))
        serial = scsi.parse_serial(await self.run(scsi.inquiry(scsi.VPD_SERIAL)))
        return Identity(names.wwid, serial, names.port_group, about.tpgs)

    async def test_unit_ready(self) -> None:
        await self.run(scsi.test_unit_ready())

    async def capacity(self) -> Capacity:
        return scsi.parse_capacity(await self.run(scsi.read_capacity()))

    async def caching(self) -> Caching:
        return scsi.parse_caching(await self.run(scsi.sense_caching()))

    async def port_groups(self) -> dict[int, Access]:
        """Access state of each target port group."""
        return scsi.parse_target_port_groups(await self.run(scsi.report_target_port_groups()))

    async def read(self, lba: int, blocks: int, block_bytes: int, *, fua: bool = False) -> bytes:
        command = scsi.read(lba, blocks, block_bytes, fua=fua)
        data = await self.run(command)
        if len(data) != command.expects:
            raise BadAnswer(f"{self.portal} sent {len(data)} of {command.expects} bytes that were read at block {lba}")
        return data

    async def write(self, lba: int, data: bytes, block_bytes: int, *, fua: bool = False) -> None:
        await self.run(scsi.write(lba, data, block_bytes, fua=fua))

    async def synchronize_cache(self) -> None:
        await self.run(scsi.synchronize_cache())

    async def reservation_keys(self) -> list[int]:
        return scsi.parse_reservation_keys(await self.run(scsi.read_reservation_keys()))

    async def reservation(self) -> scsi.Reservation | None:
        return scsi.parse_reservation(await self.run(scsi.read_reservation()))

    async def reserve(
        self,
        action: scsi.Reserve,
        *,
        key: int = 0,
        new_key: int = 0,
        kind: scsi.ReservationType = scsi.ReservationType.NONE,
    ) -> None:
        """PERSISTENT RESERVE OUT."""
        await self.run(scsi.reserve_out(action, key=key, new_key=new_key, kind=kind))


@asynccontextmanager
async def open_path(
    portal: str, login: Login, lun: int, *, timeout_s: float = 3.0, clock: Clock | None = None
) -> AsyncIterator[Path]:
    """Log in; at the end log out. `timeout_s` for the login and for each command. Raises PathLost, LoginRefused."""
    async with await Session.open(portal, login, timeout_s=timeout_s, clock=clock) as session:
        yield Path(session, lun, timeout_s)
