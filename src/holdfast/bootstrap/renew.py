"""A node's own certificate: asked for, installed, without anybody's restart.

The node makes a new key and puts a request into its record in the store (`trust.NodeTrust`); a management node answers it.
etcd reads certificate and key at each handshake, the store's client for each connection, the panel when the files change.
Connections that are open go on.

Replacing two files is no single step. The next certificate is staged beside its key first, so that whatever a crash leaves
behind can be finished (`finish`) before anybody needs the pair.
"""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from holdfast.bootstrap import certificates, files, pki
from holdfast.bootstrap.trust import Trust
from holdfast.errors import InvalidInput

NEXT = ".next"
"""Suffix of what is staged."""


def why(cert_pem: bytes, wanted: set[str], trust: Trust, now: str) -> str:
    """Why the certificate is to be renewed; "" if it is good. `wanted`: names and addresses it must have."""
    try:
        said, names = certificates.facts(cert_pem), pki.names_of(cert_pem)
        due = certificates.renewal_due(cert_pem, now)
    except (InvalidInput, ValueError):
        return "it cannot be read"
    missing = sorted(wanted - names)
    if missing:
        return f"it does not name {', '.join(missing)}"
    if said.authority != certificates.authority_id(trust.signing.encode()):
        return "another authority signs now"
    if due:
        return "two thirds of its life have passed"
    if trust.renew_before and certificates.moment(said.begins) < certificates.moment(trust.renew_before) - pki.SKEW:
        return "an operator asked for it"
    return ""


def request(pki_dir: Path, node: str) -> str:
    """A new key, staged, and the request for it (PEM). Raises ConfigError."""
    asked, key = pki.new_request(node)
    files.replace_file(pki_dir / (files.NODE_KEY + NEXT), key, files.SECRET_MODE)
    return asked.decode()


def answers(pki_dir: Path, cert_pem: bytes) -> bool:
    """Whether this certificate is the answer to the request whose key is staged."""
    try:
        return _pair(cert_pem, (pki_dir / (files.NODE_KEY + NEXT)).read_bytes())
    except OSError:
        return False


def asks(pki_dir: Path, request_pem: str) -> bool:
    """Whether the key of this request is the one that is staged."""
    try:
        key = (pki_dir / (files.NODE_KEY + NEXT)).read_bytes()
        loaded = serialization.load_pem_private_key(key, password=None)
        return x509.load_pem_x509_csr(request_pem.encode()).public_key() == loaded.public_key()
    except (OSError, ValueError, TypeError):
        return False


def install(pki_dir: Path, cert_pem: bytes, ca_pem: bytes, node: str) -> None:
    """Use the staged key and this certificate. Raises InvalidInput if they do not belong together, ConfigError."""
    key_path = pki_dir / (files.NODE_KEY + NEXT)
    pki.check_node(ca_pem, cert_pem, key_path.read_bytes(), node)
    files.replace_file(pki_dir / (files.NODE_CERT + NEXT), cert_pem, files.PUBLIC_MODE)
    finish(pki_dir)


def finish(pki_dir: Path) -> None:
    """Complete what was staged, also after a crash between any two steps. Raises OSError."""
    staged_cert, staged_key = pki_dir / (files.NODE_CERT + NEXT), pki_dir / (files.NODE_KEY + NEXT)
    cert, key = pki_dir / files.NODE_CERT, pki_dir / files.NODE_KEY
    if not staged_cert.exists():
        return
    content = staged_cert.read_bytes()
    if staged_key.exists() and _pair(content, staged_key.read_bytes()):
        staged_key.replace(key)
    if _pair(content, key.read_bytes()):
        staged_cert.replace(cert)
    else:
        staged_cert.unlink()


def _pair(cert_pem: bytes, key_pem: bytes) -> bool:
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
        return x509.load_pem_x509_certificate(cert_pem).public_key() == key.public_key()
    except (ValueError, TypeError):
        return False
