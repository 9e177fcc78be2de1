"""Silences service addresses by an nftables table of our own, `inet holdfast-mute`.

Every change replaces the whole table in one nftables transaction, so that a call is idempotent and nothing of an earlier
agent survives in it. The `nft` program is run for it (about 5 ms): muting happens once per planned move.
"""

import asyncio

from holdfast.errors import DriverError

TABLE = "holdfast-mute"
_TIMEOUT_S = 5.0

#: Before connection tracking (-200) and raw (-300), so that no other table sees or answers a muted packet.
_PRIORITY = -450


class Muter:
    """The set of muted addresses of this node."""

    def __init__(self) -> None:
        self._muted: set[str] = set()
        self._lock = asyncio.Lock()

    async def mute(self, ip: str) -> None:
        """Drop every packet from and to `ip`. Raises DriverError."""
        async with self._lock:
            await self._apply(self._muted | {ip})

    async def unmute(self, ip: str) -> None:
        """Undo `mute`; nothing happens if it was not muted. Raises DriverError."""
        async with self._lock:
            if ip in self._muted:
                await self._apply(self._muted - {ip})

    async def flush(self) -> None:
        """Forget all mutes, those of an earlier agent on this node too. Raises DriverError."""
        async with self._lock:
            await self._apply(set())

    async def _apply(self, muted: set[str]) -> None:
        await _nft(script(muted))
        self._muted = muted


def script(muted: set[str]) -> str:
    """The nftables transaction that makes exactly these addresses silent."""
    # `add` before `delete`: deleting a table that is not there would fail the transaction.
    lines = [f"add table inet {TABLE}", f"delete table inet {TABLE}"]
    if muted:
        lines.append(f"add table inet {TABLE}")
        for hook in ("prerouting", "output"):
            lines.append(f"add chain inet {TABLE} {hook} {{ type filter hook {hook} priority {_PRIORITY}; }}")
            for ip in sorted(muted):
                family = "ip6" if ":" in ip else "ip"
                lines += [f"add rule inet {TABLE} {hook} {family} {end} {ip} drop" for end in ("saddr", "daddr")]
    return "\n".join(lines) + "\n"


async def _nft(text: str) -> None:
    advice = "Install the package nftables, and run the agent as root."
    try:
        process = await asyncio.create_subprocess_exec(
            "nft",
            "-f",
            "-",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise DriverError(f"cannot run nft: {error}", advice) from error
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            _, errors = await process.communicate(text.encode())
    except TimeoutError:
        process.kill()
        await process.wait()
        raise DriverError(f"nft did not end within {_TIMEOUT_S:.0f} s", "Try `nft list ruleset` by hand.") from None
    if process.returncode != 0:
        detail = errors.decode(errors="replace").strip().replace("\n", "; ")
        raise DriverError(f"nft refused to change the table {TABLE}: {detail}", advice)
