"""The cluster's own certificate authority and the certificates it gives to nodes.

Every connection inside the cluster (store, panel, API) is mutual TLS below this authority. Keys are elliptic (P-256), which
every TLS library has and which sign in well under a millisecond.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from holdfast.clock import SystemClock
from holdfast.errors import InvalidInput

CA_VALID = timedelta(days=3653)
NODE_VALID = timedelta(days=90)
"""Of a node's certificate. It is renewed by itself when two thirds of it have passed (`renewal_due`)."""
SKEW = timedelta(days=1)
"""Certificates begin this much in the past, so that a node whose clock is behind accepts them."""
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
"""In every node's certificate: local clients speak TLS to the node's own store and panel too."""
_ANEW = "Ask for a new token: holdfast node token."


@dataclass(frozen=True, slots=True)
class Authority:
    """Certificate and private key of the cluster's authority, both PEM."""

    cert_pem: bytes
    key_pem: bytes


def create_authority(cluster: str, mark: str = "") -> Authority:
    """A new authority, valid for ten years. `mark` tells it from the one it is to replace: some libraries look for issuers
    by their names alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"Holdfast cluster {cluster}"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Holdfast CA {cluster} {mark}".rstrip()),
        ]
    )
    now = _now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + CA_VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(certificate_authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate.public_bytes(serialization.Encoding.PEM), _private_pem(key))


def issue_node(ca: Authority, node_id: str, addresses: Iterable[str]) -> tuple[bytes, bytes]:
    """Certificate and private key (PEM) of a node whose key is made here: the cluster's first one, or a bundle's."""
    key = ec.generate_private_key(ec.SECP256R1())
    return _node(ca, node_id, addresses, key.public_key()), _private_pem(key)


def new_request(node_id: str) -> tuple[bytes, bytes]:
    """A certificate request and its private key (PEM), which stays on the node."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node_id)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM), _private_pem(key)


def answer_request(ca: Authority, request_pem: bytes, node_id: str, addresses: Iterable[str]) -> bytes:
    """The certificate (PEM) for a request. Of the request only the key counts: what the certificate is good for is the
    cluster's word. Raises InvalidInput unless it is a sound request with a P-256 key, signed by that key, of this node."""
    try:
        request = x509.load_pem_x509_csr(request_pem)
        sound = request.is_signature_valid
        names = [str(n.value) for n in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        key = request.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _unusable_request("it cannot be read") from error
    if not sound or not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _unusable_request("it is not signed by a P-256 key of its own")
    if names != [node_id]:
        raise _unusable_request(f"it is not one of node {node_id!r}")
    return _node(ca, node_id, addresses, key)


def _unusable_request(why: str) -> InvalidInput:
    return InvalidInput(f"the certificate request cannot be used: {why}", "Make it with `holdfast node join`.")


def _node(ca: Authority, node_id: str, addresses: Iterable[str], key: ec.EllipticCurvePublicKey) -> bytes:
    """For servers and clients. `addresses` are the node's own on every network, and the panel's virtual IP where it may
    come. The common name is the node's id."""
    usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return _issue(ca, node_id, _alternative_names([node_id, *LOCAL_NAMES, *addresses]), usage, key, NODE_VALID)


def issue_server(ca: Authority, common_name: str, names: Iterable[str]) -> tuple[bytes, bytes]:
    """Certificate and private key (PEM) of a server that clients outside the cluster reach under `names` (DNS names and
    addresses). It opens no door inside: store and panel take no client that shows it."""
    key = ec.generate_private_key(ec.SECP256R1())
    usage = [ExtendedKeyUsageOID.SERVER_AUTH]
    return _issue(ca, common_name, _alternative_names(names), usage, key.public_key(), CA_VALID), _private_pem(key)


def check_server(cert_pem: bytes, key_pem: bytes, name: str) -> None:
    """Raise InvalidInput unless an operator's own certificate (the server's first, its authorities' after it) and its key
    belong together, and it is good for the DNS name, now."""
    try:
        certificate = x509.load_pem_x509_certificates(cert_pem)[0]
        key = serialization.load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError, IndexError) as error:
        raise InvalidInput(
            f"certificate or key cannot be used: {error}", "Give both as PEM, the key without a password."
        ) from error
    if certificate.public_key() != key.public_key():
        raise InvalidInput("the key is not that of the certificate", "Give the two files that belong together.")
    if not certificate.not_valid_before_utc <= _now() <= certificate.not_valid_after_utc:
        raise InvalidInput(
            f"the certificate is good from {certificate.not_valid_before_utc} to {certificate.not_valid_after_utc}",
            "Have it renewed.",
        )
    names = names_of(cert_pem)
    if name not in names and f"*.{name.partition('.')[2]}" not in names:
        raise InvalidInput(
            f"the certificate is good for {', '.join(sorted(names)) or 'no name'} and not for {name}",
            "Give one for the domain.",
        )


def _issue(
    ca: Authority,
    common_name: str,
    names: list[x509.GeneralName],
    usage: list[x509.ObjectIdentifier],
    key: ec.EllipticCurvePublicKey,
    valid: timedelta,
) -> bytes:
    authority = x509.load_pem_x509_certificate(ca.cert_pem)
    authority_key = serialization.load_pem_private_key(ca.key_pem, password=None)
    assert isinstance(authority_key, ec.EllipticCurvePrivateKey)
    organization = authority.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([*organization, x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(authority.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - SKEW)
        .not_valid_after(min(_now() + valid, authority.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(certificate_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def check_node(ca_pem: bytes, cert_pem: bytes, key_pem: bytes, node_id: str) -> None:
    """Raise InvalidInput unless certificate, key, one of the authorities and node id belong together."""
    try:
        certificate = x509.load_pem_x509_certificate(cert_pem)
        key = serialization.load_pem_private_key(key_pem, password=None)
        issued = any(_issued_by(certificate, authority) for authority in x509.load_pem_x509_certificates(ca_pem))
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"the certificate of node {node_id!r} cannot be used: {error}", _ANEW) from error
    if not issued:
        raise InvalidInput(f"the certificate of node {node_id!r} does not fit its authority", _ANEW)
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if [name.value for name in names] != [node_id] or certificate.public_key() != key.public_key():
        raise InvalidInput(f"certificate and key do not belong together, or are not those of node {node_id!r}", _ANEW)


def _issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def names_of(cert_pem: bytes) -> set[str]:
    """Every address and host name the certificate is good for."""
    certificate = x509.load_pem_x509_certificate(cert_pem)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(address) for address in names.get_values_for_type(x509.IPAddress)} | set(
        names.get_values_for_type(x509.DNSName)
    )


def _alternative_names(texts: Iterable[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for name in dict.fromkeys(texts):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            names.append(x509.DNSName(name))
    return names


def _key_usage(*, certificate_authority: bool) -> x509.KeyUsage:
    """An authority signs certificates and nothing else; a node signs handshakes. ECDSA needs no encipherment, but libvirt
    before 10 and QEMU before 9.2 refuse a certificate that does not permit it, of whatever kind its key is."""
    return x509.KeyUsage(
        digital_signature=not certificate_authority,
        key_cert_sign=certificate_authority,
        crl_sign=certificate_authority,
        content_commitment=False,
        key_encipherment=not certificate_authority,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _now() -> datetime:
    return datetime.fromisoformat(SystemClock().wall())
