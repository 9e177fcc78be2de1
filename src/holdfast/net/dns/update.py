"""Updates of the operator's own primary server (RFC 2136, signed with TSIG).

A TXT record `_epoch` at the apex holds the serial that was written last. Each update requires that it still is what we read,
and replaces it: so a former leader that was paused in the middle can never undo what a later one wrote.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import dns.asyncquery
import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.update

from holdfast.core.dns_records import newer
from holdfast.errors import HoldfastError
from holdfast.net.dns.book import parse

EPOCH = "_epoch"
TIMEOUT_S = 3.0


class UpdateFailed(HoldfastError):
    """The server has not taken the update, or did not say so. It is tried again."""

    http_status = 502


@dataclass(frozen=True, slots=True)
class Update:
    """One state of a zone, to be written."""

    server: str
    port: int
    zone: str
    ttl_s: int
    key: dns.tsig.Key
    serial: int
    names: Mapping[str, tuple[str, ...]]
    forget: Iterable[str] = ()
    """Names that we wrote, and that are published no more."""


async def push(update: Update, *, timeout: float = TIMEOUT_S) -> None:
    """Bring the server to this state. Raises UpdateFailed."""
    try:
        written = await _epoch(update, timeout)
        if written is not None and newer(written, update.serial):
            raise UpdateFailed(
                f"{_where(update)} has the state {written} already, which is newer than {update.serial}",
                "Another manager, or another cluster, writes there. Each cluster needs a zone of its own.",
            )
        answer = await dns.asyncquery.tcp(_message(update, written), update.server, timeout, port=update.port)
    except (dns.exception.DNSException, OSError, EOFError) as error:
        raise _failed(update, error) from error
    if answer.rcode() != dns.rcode.NOERROR:
        raise _refused(update, answer.rcode())


async def _epoch(update: Update, timeout: float) -> int | None:
    """The serial that was written last; None: nobody wrote one. One that is no number is as good as none written by us, and
    required to stay while it is replaced."""
    query = dns.message.make_query(_owner(update), "TXT")
    query.use_tsig(update.key)
    answer = await dns.asyncquery.tcp(query, update.server, timeout, port=update.port)
    if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise _refused(update, answer.rcode())
    for rrset in answer.answer:
        if rrset.rdtype == dns.rdatatype.TXT and rrset.name == _owner(update):
            text = str(rrset[0]).strip('"')
            if not text.isdecimal():
                raise UpdateFailed(
                    f"{EPOCH} of {_where(update)} is {text!r} and not a number of ours",
                    "Remove that TXT record from the zone if nobody else needs it.",
                )
            return int(text)
    return None


def _message(update: Update, written: int | None) -> dns.update.UpdateMessage:
    zone = parse(update.zone)
    assert zone is not None
    message = dns.update.UpdateMessage(zone, keyring=update.key)
    owner = _owner(update)
    if written is None:
        message.absent(owner, "TXT")
    else:
        message.present(owner, "TXT", f'"{written}"')
    message.replace(owner, update.ttl_s, "TXT", f'"{update.serial}"')
    for text in sorted({*update.names, *update.forget}):
        name = parse(text)
        if name is None or not name.is_subdomain(zone):
            continue
        message.delete(name, "A")
        message.delete(name, "AAAA")
        for address in update.names.get(text, ()):
            message.add(name, update.ttl_s, "AAAA" if ":" in address else "A", address)
    return message


def _owner(update: Update) -> dns.name.Name:
    return dns.name.from_text(f"{EPOCH}.{update.zone}")


def _where(update: Update) -> str:
    return f"the zone {update.zone} on {update.server} port {update.port}"


def _failed(update: Update, error: Exception) -> UpdateFailed:
    if isinstance(error, dns.tsig.PeerError | dns.tsig.BadSignature | dns.message.UnknownTSIGKey):
        return _wrong_key(update, str(error))
    said = str(error) or type(error).__name__
    return UpdateFailed(
        f"{_where(update)} cannot be updated: {said}", "Check that the server runs and that its TCP port is open."
    )


def _refused(update: Update, rcode: dns.rcode.Rcode) -> UpdateFailed:
    if rcode == dns.rcode.NOTAUTH:
        return _wrong_key(update, "NOTAUTH")
    if rcode in (dns.rcode.NXRRSET, dns.rcode.YXRRSET):
        return UpdateFailed(
            f"{_where(update)} was changed by somebody else in between", "Nothing was written. It is tried again."
        )
    if rcode == dns.rcode.SERVFAIL:
        return UpdateFailed(
            f"{_where(update)} fails to write the update", "Its log says why: look for SERVFAIL or DDNS."
        )
    return UpdateFailed(
        f"{_where(update)} refuses the update: {dns.rcode.to_text(rcode)}",
        "Allow updates of A, AAAA and TXT records with the key, for the whole zone.",
    )


def _wrong_key(update: Update, said: str) -> UpdateFailed:
    return UpdateFailed(
        f"{_where(update)} does not accept the key {update.key.name}: {said}",
        "Compare its name, algorithm and secret with the server's, check that the server has the zone, and the clocks.",
    )
