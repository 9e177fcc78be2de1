"""What a machine that restores the cluster's state knows better than the backup: who was shut out since.

Nodes that were removed after the backup was made have left two traces on those that stayed: newer shared secrets, and their
certificates on the list. Both go on. Else a restore would let everybody in again who holds what a removed node held.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from holdfast.bootstrap import certificates, files, pki, ring
from holdfast.bootstrap.trust import Revoked, Trust, authorities, listed
from holdfast.errors import ConfigError, HoldfastError
from holdfast.store import codec, keys


def belongs(kept: Mapping[str, bytes], own: Path, node: str) -> bool:
    """Whether the certificate of this machine is this node's, by an authority that the backup knows."""
    try:
        pki.check_node(kept[files.CA_CERT], _read(own / files.NODE_CERT), _read(own / files.NODE_KEY), node)
    except (HoldfastError, OSError):
        return False
    return True


def carry_on(new: dict[str, bytes], kept: Mapping[str, bytes], own: Path, wall: str) -> dict[str, bytes]:
    """Name → content of the files for this machine; `new`, the records of the store, learns what it knows better. `kept`:
    the files of the backup. `wall`: now."""
    found = _with_newer_ring(kept, own)
    if keys.TRUST not in new:
        return found  # of a version that revoked nothing
    known = codec.decode(new[keys.TRUST], Trust, keys.TRUST)
    # Else no management node would do its work for the trust of all (agent/trust_office.py).
    known = replace(known, generation=max(known.generation, _generation(found)))
    missing = _revoked(own, known) - {one.serial for one in known.revoked}
    if missing:
        # Nobody here knows when these certificates end: none is given out for longer than this.
        ends = (datetime.fromisoformat(wall) + pki.NODE_VALID).isoformat()
        more = tuple(Revoked(serial, ends, "", wall) for serial in sorted(missing))
        secret = found[files.CLUSTER_SECRET] + found.get(files.CLUSTER_PREVIOUS, b"")
        key, other = (
            codec.decode(new[name], str, name) if name in new else None for name in (keys.CA_KEY, keys.CA_KEY_OTHER)
        )
        known = listed(replace(known, revoked=(*known.revoked, *more)), authorities(known, key, other, secret))
    new[keys.TRUST] = codec.encode(known)
    return {**found, files.CRL: known.crl_file} if known.crls else found


def _with_newer_ring(kept: Mapping[str, bytes], own: Path) -> dict[str, bytes]:
    """The newer secrets count, and those of the backup open what is in it."""
    here = ring.read(own)
    if here.generation <= _generation(kept) or not here.cluster:
        return dict(kept)
    before = kept.get(files.CLUSTER_SECRET, b"") + here.cluster_before
    merged = {files.BEAT_KEY: here.beat, files.CLUSTER_SECRET: here.cluster, files.CLUSTER_PREVIOUS: before}
    return {**kept, **merged, files.GENERATION: str(here.generation).encode()}


def _generation(found: Mapping[str, bytes]) -> int:
    return int(found.get(files.GENERATION, b"").strip() or b"1")


def _revoked(own: Path, known: Trust) -> set[str]:
    """Serials on this machine's list, if it is one of the authorities that the backup knows."""
    try:
        content = _read(own / files.CRL)
        certificates.check_revocations(content, known.ca_file)
        return certificates.revoked_serials(content)
    except (HoldfastError, OSError):
        return set()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", "Restore as root.") from error
