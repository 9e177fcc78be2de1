"""What a real etcd makes of certificates that are revoked, renewed, expired or somebody else's, and of the list of revoked
ones when it is damaged. Each way in is an attack that was tried; docs/security.md lists them."""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from etcd_members import Members

from holdfast.bootstrap import certificates, pki
from holdfast.clock import SystemClock
from holdfast.config import Tls
from holdfast.errors import StoreError, StoreRejected
from holdfast.ports import Put
from holdfast.store.etcd import EtcdStore

HANG_S = 30.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"
PING = b"\0\0\x08\x06\0\0\0\0\0" + b"12345678"


class Guarded:
    """One member that reads a list of revoked certificates."""

    def __init__(self, root: Path) -> None:
        self.crl = root / "crl.pem"
        self.members = Members(root, extra=(f"--client-crl-file={self.crl}", f"--peer-crl-file={self.crl}"))
        assert self.members.ca is not None
        self.ca = self.members.ca
        self.revoke()
        self.members.add()
        self.members.start()
        self.url = self.members.endpoints[0]
        self.good = self.members.credentials("client", [])
        self.wait(lambda: self.enters(self.good))

    def revoke(self, *files: Tls) -> None:
        serials = [certificates.facts(Path(one.cert).read_bytes()).serial for one in files]
        self.crl.write_bytes(certificates.revocations(self.ca, serials))

    def link(self, tls: Tls, *, url: str = "") -> ssl.SSLSocket:
        """A connection on which etcd has answered. Raises OSError."""
        host, port = (url or self.url).removeprefix("https://").split(":")
        context = ssl.create_default_context(cafile=tls.ca)
        context.load_cert_chain(tls.cert, tls.key)
        context.set_alpn_protocols(["h2"])
        return handshake(context, host, int(port))

    def enters(self, tls: Tls, *, url: str = "") -> bool:
        try:
            self.link(tls, url=url).close()
        except OSError:
            return False
        return True

    def wait(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + HANG_S
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.05)


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    made = Guarded(tmp_path_factory.mktemp("etcd"))
    yield made
    made.members.stop()


def handshake(context: ssl.SSLContext, host: str, port: int) -> ssl.SSLSocket:
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(socket.create_connection((host, port), 5))
        made = stack.enter_context(context.wrap_socket(plain, server_hostname=host))
        made.settimeout(5)
        made.sendall(PREFACE)
        if not made.recv(100):
            raise ConnectionError("closed after the handshake")
        stack.pop_all()
    return made


def answers(link: ssl.SSLSocket) -> bool:
    link.sendall(PING)
    return bool(link.recv(1000))


def test_a_stolen_certificate_enters_no_more_after_its_node_was_removed(etcd: Guarded) -> None:
    stolen = etcd.members.credentials("n4", [])
    assert etcd.enters(stolen)
    etcd.revoke(stolen)
    peer = etcd.members.members[0].peer_url
    for url in (etcd.url, peer):
        assert not etcd.enters(stolen, url=url)
    assert etcd.enters(etcd.good), "nobody else notices"
    etcd.revoke()


def test_without_a_list_nobody_enters_and_who_is_in_stays(etcd: Guarded) -> None:
    """The safe direction, and not the end of the cluster: one node's file concerns that node's member, whose connections go
    on. The agent restores the file from its copy (tests/unit/test_trust.py)."""
    link, kept = etcd.link(etcd.good), etcd.crl.read_bytes()
    for damage in (etcd.crl.unlink, lambda: etcd.crl.write_bytes(b"garbage"), lambda: etcd.crl.write_bytes(b"")):
        damage()
        assert not etcd.enters(etcd.good)
        assert answers(link)
        etcd.crl.write_bytes(kept)
        assert etcd.enters(etcd.good)
    link.close()


def test_a_list_that_is_out_of_date_counts_on(etcd: Guarded) -> None:
    """etcd does not look at the list's dates: it cannot expire under the cluster, nor keep anybody out by being old."""
    stolen = etcd.members.credentials("n5", [])
    key = serialization.load_pem_private_key(etcd.ca.key_pem, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    past = datetime.fromisoformat(SystemClock().wall()) - timedelta(days=30)
    serial = int(certificates.facts(Path(stolen.cert).read_bytes()).serial, 16)
    entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(past).build()
    builder = x509.CertificateRevocationListBuilder().issuer_name(
        x509.load_pem_x509_certificate(etcd.ca.cert_pem).subject
    )
    builder = builder.last_update(past).next_update(past + timedelta(days=1)).add_revoked_certificate(entry)
    etcd.crl.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    assert etcd.enters(etcd.good) and not etcd.enters(stolen)
    etcd.revoke()


def test_only_the_first_list_of_the_file_counts_for_etcd(etcd: Guarded) -> None:
    """Why the first one names all revoked certificates, whoever issued them."""
    stolen = etcd.members.credentials("n6", [])
    serial = certificates.facts(Path(stolen.cert).read_bytes()).serial
    other = pki.create_authority("demo", "2")
    etcd.crl.write_bytes(certificates.revocations(other, []) + certificates.revocations(etcd.ca, [serial]))
    assert etcd.enters(stolen)
    etcd.crl.write_bytes(certificates.revocations(other, [serial]) + certificates.revocations(etcd.ca, []))
    assert not etcd.enters(stolen)
    etcd.revoke()


def test_an_expired_certificate_and_one_of_another_authority_do_not_enter(etcd: Guarded) -> None:
    false = pki.create_authority(etcd.members.name)  # of the same name
    foreign = etcd.members.credentials("n1-false", [], ca=false)
    assert not etcd.enters(foreign)
    authority = x509.load_pem_x509_certificate(etcd.ca.cert_pem)
    key = serialization.load_pem_private_key(etcd.ca.key_pem, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    own, past = (
        ec.generate_private_key(ec.SECP256R1()),
        datetime.fromisoformat(SystemClock().wall()) - timedelta(days=2),
    )
    builder = x509.CertificateBuilder().subject_name(authority.subject).issuer_name(authority.subject)
    builder = builder.public_key(own.public_key()).serial_number(7).not_valid_before(past - timedelta(days=90))
    cert = builder.not_valid_after(past).sign(key, hashes.SHA256())
    expired = etcd.members.credentials("expired", [])
    Path(expired.cert).write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    Path(expired.key).write_bytes(
        own.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    assert not etcd.enters(expired)


def test_plain_tcp_and_no_certificate_do_not_enter(etcd: Guarded) -> None:
    host, port = etcd.url.removeprefix("https://").split(":")
    for words in (PREFACE, b"GET /v3/kv/range HTTP/1.1\r\nHost: x\r\n\r\n"):
        with socket.create_connection((host, int(port)), 5) as plain:
            plain.sendall(words)
            with contextlib.suppress(ConnectionError):
                assert b"\0\0\0\x04" not in (said := plain.recv(1000)) and b"200 OK" not in said
    context = ssl.create_default_context(cafile=etcd.good.ca)
    context.set_alpn_protocols(["h2"])
    with pytest.raises(OSError):
        handshake(context, host, int(port))


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_before_1_2_is_not_spoken(etcd: Guarded) -> None:
    host, port = etcd.url.removeprefix("https://").split(":")
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        context = ssl.create_default_context(cafile=etcd.good.ca)
        context.load_cert_chain(etcd.good.cert, etcd.good.key)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        with pytest.raises(OSError, match=r"PROTOCOL_VERSION|protocol version"):
            handshake(context, host, int(port))


async def test_our_client_speaks_to_no_member_of_another_authority_and_never_in_clear(
    etcd: Guarded, tmp_path: Path
) -> None:
    false = tmp_path / "ca"
    false.write_bytes(pki.create_authority(etcd.members.name).cert_pem)
    for url, tls in ((etcd.url, replace(etcd.good, ca=str(false))), (etcd.url, None)):
        store = EtcdStore((url,), tls, clock=SystemClock())
        with pytest.raises(StoreError):
            await store.get("x", timeout=2.0)
        await store.close()
    store = EtcdStore((etcd.url,), None, clock=SystemClock())
    with pytest.raises(StoreRejected, match="no certificate is configured"):
        await store.get("x", timeout=2.0)
    await store.close()


async def test_a_renewed_certificate_is_used_at_once_and_open_connections_go_on(etcd: Guarded, tmp_path: Path) -> None:
    """Member and client get new certificates; a watch that is open delivers what is written through a new connection."""
    config = etcd.members.members[0].config
    host = config.addresses["management"]
    store = EtcdStore((etcd.url,), etcd.good, clock=SystemClock())
    watching = store.watch("renewal/")
    await anext(watching)

    def shown() -> int:
        link = etcd.link(etcd.good)
        der = link.getpeercert(True)
        link.close()
        assert der is not None
        return x509.load_der_x509_certificate(der).serial_number

    before = shown()
    for tls, names in ((config.tls, [host]), (etcd.good, [])):
        cert, key = pki.issue_node(etcd.ca, "n1", names)
        Path(tls.key).write_bytes(key)
        Path(tls.cert).write_bytes(cert)
    assert shown() != before
    other = EtcdStore((etcd.url,), etcd.good, clock=SystemClock())
    await other.txn([], [Put("renewal/x", b"1")])
    async with asyncio.timeout(HANG_S):
        batch = await anext(watching)
    assert not batch.snapshot and [change.key for change in batch.changes] == ["renewal/x"], "the same connection"
    await other.close()
    await store.close()
