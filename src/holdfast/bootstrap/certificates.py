"""What a certificate says, the list of revoked ones, and fingerprints. Beside `pki`, which makes certificates.

**The list of revoked certificates** (CRL) is a file of PEM blocks, one per trusted authority. etcd (tried: 3.4.23) reads
the file at each handshake, and of it the first block only; it compares serial numbers, whoever issued them. So the first
block, by the authority that signs at present, names *all* revoked serials. OpenSSL and GnuTLS want one from each issuer.

**A list never expires before its authority does.** OpenSSL and GnuTLS refuse *every* certificate once the list at hand is
out of date, so a list that must be refreshed would be a bomb under the whole cluster. Its freshness does not rest on its
date: nodes take it from the store, in whose watch it comes within milliseconds.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from holdfast.bootstrap.pki import SKEW, Authority
from holdfast.clock import SystemClock
from holdfast.errors import InvalidInput

RENEW_AT = 2 / 3
"""Share of its life after which a certificate is renewed."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a certificate says of itself. Times are wall-clock, ISO 8601."""

    serial: str
    """Hexadecimal."""
    begins: str
    ends: str
    authority: str
    """Key identifier of who issued it (hexadecimal); "" where it does not say."""


def facts(cert_pem: bytes) -> Facts:
    """Raises InvalidInput."""
    certificate = _load(cert_pem)
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        found = None
    return Facts(
        f"{certificate.serial_number:x}",
        certificate.not_valid_before_utc.isoformat(),
        certificate.not_valid_after_utc.isoformat(),
        found.hex() if found else "",
    )


def authority_id(ca_pem: bytes) -> str:
    """The key identifier of an authority, as `Facts.authority` names it. Raises InvalidInput."""
    return x509.SubjectKeyIdentifier.from_public_key(_load(ca_pem).public_key()).digest.hex()


def fingerprint(ca_pem: bytes) -> str:
    """SHA-256 of the certificate (DER), hexadecimal. Raises InvalidInput."""
    return hashlib.sha256(_load(ca_pem).public_bytes(serialization.Encoding.DER)).hexdigest()


def split(pem: bytes) -> list[bytes]:
    """The single certificates of a file. Raises InvalidInput."""
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise InvalidInput(f"these are no certificates: {error}", "Give PEM.") from error
    return [certificate.public_bytes(serialization.Encoding.PEM) for certificate in found]


def moment(text: str) -> datetime:
    """Of a wall-clock time."""
    return datetime.fromisoformat(text)


def renewal_due(cert_pem: bytes, now: str) -> bool:
    """Whether two thirds of its life have passed at this wall-clock time."""
    said = facts(cert_pem)
    begins, ends = datetime.fromisoformat(said.begins), datetime.fromisoformat(said.ends)
    return datetime.fromisoformat(now) >= begins + (ends - begins) * RENEW_AT


def revocations(ca: Authority, serials: Iterable[str]) -> bytes:
    """One authority's list (PEM) of revoked serials (hexadecimal), valid as long as the authority."""
    authority = _load(ca.cert_pem)
    key = serialization.load_pem_private_key(ca.key_pem, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    now = datetime.fromisoformat(SystemClock().wall())
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.subject)
        .last_update(now - SKEW)
        .next_update(max(authority.not_valid_after_utc, now + timedelta(days=1)))
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .add_extension(x509.CRLNumber(int(now.timestamp() * 1e6)), critical=False)
    )
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(int(serial, 16)).revocation_date(now - SKEW).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def revoked_serials(crl_pem: bytes) -> set[str]:
    """Of the first block: what etcd goes by. Raises InvalidInput."""
    try:
        return {f"{entry.serial_number:x}" for entry in x509.load_pem_x509_crl(crl_pem)}
    except ValueError as error:
        raise InvalidInput(f"this is no list of revoked certificates: {error}", "") from error


def check_revocations(crl_pem: bytes, ca_pem: bytes) -> None:
    """Raise InvalidInput unless the first block is a list of one of these authorities: nothing else may reach the file that
    every handshake depends on."""
    try:
        crl = x509.load_pem_x509_crl(crl_pem)
        authorities = x509.load_pem_x509_certificates(ca_pem)
    except ValueError as error:
        raise InvalidInput(f"this is no list of revoked certificates: {error}", "") from error
    for authority in authorities:
        key = authority.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        if crl.issuer == authority.subject and _signed(crl, key):
            return
    raise InvalidInput("the list of revoked certificates is not signed by the cluster's authority", "")


def _signed(crl: x509.CertificateRevocationList, key: ec.EllipticCurvePublicKey) -> bool:
    try:
        return crl.is_signature_valid(key)
    except (InvalidSignature, ValueError, TypeError):
        return False


def _load(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise InvalidInput(f"this is no certificate: {error}", "Give it as PEM.") from error
