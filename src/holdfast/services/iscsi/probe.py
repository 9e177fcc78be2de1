"""The health check of an iSCSI volume: a READ through one of its paths, as its clients do it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from holdfast.core.model import InstanceSpec
from holdfast.errors import HoldfastError
from holdfast.services.iscsi.config import KIND, Attached, ChapAccount, TargetGroup, from_instance, parse_portal
from holdfast.services.iscsi.initiator import Path
from holdfast.services.iscsi.scsi import STATUS_RESERVATION_CONFLICT, ScsiError
from holdfast.services.iscsi.session import Chap, Login, Session


class IscsiProbe:
    """Port HealthProbe. Usable from any node; on a node of the group its own portals are asked first.

    Logins are kept: a volume is looked at each second, and a login costs more than the look.
    """

    kind = KIND

    def __init__(self, node: str, groups: Callable[[], Mapping[str, TargetGroup]]) -> None:
        self._node = node
        self._groups = groups
        self._sessions: dict[tuple[str, str], Session] = {}
        """(portal, target) → login."""

    async def check(self, instance: InstanceSpec, *, timeout: float) -> str:
        """ "" if healthy, else one sentence. Never raises."""
        try:
            attached = from_instance(instance)
            group = self._groups().get(attached.group)
        except HoldfastError as error:
            return error.message
        if group is None:
            return f"the target group {attached.group} of {instance.id} is not known here"
        own = group.portals.get(self._node, ())
        others = [portal for node in group.nodes if node != self._node for portal in group.portals[node]]
        problem = await self._first(own, group, attached, timeout / 2) if own else "-"
        if problem and others:
            elsewhere = await self._first(others, group, attached, timeout / 2 if own else timeout)
            problem = problem if own and elsewhere else elsewhere
        return f"{instance.id} does not answer: {problem}" if problem else ""

    async def _first(self, portals: Sequence[str], group: TargetGroup, attached: Attached, timeout: float) -> str:
        """Ask all at once; "" as soon as one serves, else what was wrong with the first."""
        problems: dict[str, str] = {}

        async def ask(portal: str) -> bool:
            try:
                async with asyncio.timeout(timeout):
                    await self._read(str(parse_portal(portal)), group, attached.volume.lun, timeout)
            except TimeoutError:
                problems[portal] = f"{portal} is silent for {timeout:g} s"
            except HoldfastError as error:
                problems[portal] = error.message
            return portal not in problems

        asked = [asyncio.create_task(ask(portal)) for portal in portals]
        try:
            for answered in asyncio.as_completed(asked):
                if await answered:
                    return ""
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        return problems[portals[0]]

    async def _read(self, portal: str, group: TargetGroup, lun: int, timeout: float) -> None:
        key, login = (portal, group.iqn), _login(group)
        session = self._sessions.get(key)
        if session is None or session.problem or session.login != login:
            session = await Session.open(portal, login, timeout_s=timeout)
            previous, self._sessions[key] = self._sessions.get(key), session
            if previous is not None:
                await previous.close()
        path = Path(session, lun, timeout)
        try:
            await path.read(0, 1, (await path.capacity()).block_bytes)
        except ScsiError as error:
            if error.status != STATUS_RESERVATION_CONFLICT:  # it serves whoever has reserved it
                raise


def _login(group: TargetGroup) -> Login:
    return Login(group.iqn, group.probe, _chap(group.chap), _chap(group.mutual))


def _chap(account: ChapAccount | None) -> Chap | None:
    return Chap(account.user, account.secret) if account else None
