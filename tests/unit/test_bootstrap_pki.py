"""The authority and the certificates it gives: accepted by real TLS in both directions, and for nothing more than meant."""

import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from holdfast import locks
from holdfast.bootstrap import pki, secrets
from holdfast.errors import ConfigError, InvalidInput


@pytest.fixture(scope="module")
def authority() -> pki.Authority:
    return pki.create_authority("test")


def context(purpose: ssl.Purpose, ca: pki.Authority, cert: bytes, key: bytes, where: Path) -> ssl.SSLContext:
    where.mkdir()
    (where / "cert").write_bytes(cert)
    (where / "key").write_bytes(key)
    made = ssl.create_default_context(purpose, cadata=ca.cert_pem.decode())
    made.load_cert_chain(where / "cert", where / "key")
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    return made


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    """A mutual handshake over a socket pair; raises what the client raised."""
    here, there = socket.socketpair()
    here.settimeout(10)
    there.settimeout(10)

    def serve() -> None:
        try:
            with server.wrap_socket(there, server_side=True) as connection:
                connection.send(b"x")
        except OSError:
            there.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(here, server_hostname=name) as connection:
            assert connection.recv(1) == b"x"
    finally:
        here.close()
        thread.join(10)


@pytest.mark.parametrize("name", ["10.77.0.11", "fd77::11", "n1", "localhost", "127.0.0.1", "::1", "10.77.0.100"])
def test_mutual_tls_by_every_name_of_the_node(authority: pki.Authority, tmp_path: Path, name: str) -> None:
    server = pki.issue_node(authority, "n1", ["10.77.0.11", "fd77::11", "10.77.0.100"])
    client = pki.issue_node(authority, "n2", ["10.77.0.12"])
    handshake(
        context(ssl.Purpose.CLIENT_AUTH, authority, *server, tmp_path / "s"),
        context(ssl.Purpose.SERVER_AUTH, authority, *client, tmp_path / "c"),
        name,
    )


def test_another_address_is_refused(authority: pki.Authority, tmp_path: Path) -> None:
    node = pki.issue_node(authority, "n1", ["10.77.0.11"])
    server = context(ssl.Purpose.CLIENT_AUTH, authority, *node, tmp_path / "s")
    client = context(ssl.Purpose.SERVER_AUTH, authority, *node, tmp_path / "c")
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(server, client, "10.77.0.12")


def test_another_cluster_of_the_same_name_is_refused(authority: pki.Authority, tmp_path: Path) -> None:
    other = pki.create_authority("test")
    server = context(ssl.Purpose.CLIENT_AUTH, authority, *pki.issue_node(authority, "n1", []), tmp_path / "s")
    client = context(ssl.Purpose.SERVER_AUTH, other, *pki.issue_node(other, "n1", []), tmp_path / "c")
    with pytest.raises(ssl.SSLError):
        handshake(server, client, "n1")


def test_purposes(authority: pki.Authority) -> None:
    root = x509.load_pem_x509_certificate(authority.cert_pem)
    usage = root.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical and usage.value.key_cert_sign and not usage.value.digital_signature
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    assert 3600 < (root.not_valid_after_utc - root.not_valid_before_utc).days < 3700
    node = x509.load_pem_x509_certificate(pki.issue_node(authority, "n1", [])[0])
    assert not node.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert node.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    assert (node.not_valid_after_utc - node.not_valid_before_utc).days == 91, "90 days, from a day before"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command here")
def test_another_implementation_agrees(authority: pki.Authority, tmp_path: Path) -> None:
    cert, _ = pki.issue_node(authority, "n1", ["10.77.0.11"])
    (tmp_path / "ca").write_bytes(authority.cert_pem)
    (tmp_path / "cert").write_bytes(cert)
    for purpose in ("sslserver", "sslclient"):
        argv = [
            "openssl",
            "verify",
            "-x509_strict",
            "-purpose",
            purpose,
            "-verify_ip",
            "10.77.0.11",
            "-CAfile",
            "ca",
            "cert",
        ]
        subprocess.run(argv, cwd=tmp_path, check=True, timeout=20, capture_output=True)


def test_names_are_listed(authority: pki.Authority) -> None:
    cert, _ = pki.issue_node(authority, "n1", ["10.77.0.11", "fd77:0::11"])
    assert pki.names_of(cert) == {"n1", "localhost", "127.0.0.1", "::1", "10.77.0.11", "fd77::11"}


def test_check_node_finds_what_does_not_belong_together(authority: pki.Authority) -> None:
    cert, key = pki.issue_node(authority, "n1", [])
    pki.check_node(authority.cert_pem, cert, key, "n1")
    other_cert, other_key = pki.issue_node(authority, "n2", [])
    stranger = pki.create_authority("test")
    for ca, a_cert, a_key, node in [
        (authority.cert_pem, cert, key, "n2"),
        (authority.cert_pem, cert, other_key, "n1"),
        (authority.cert_pem, other_cert, key, "n1"),
        (stranger.cert_pem, cert, key, "n1"),
        (b"nonsense", cert, key, "n1"),
        (authority.cert_pem, cert, b"nonsense", "n1"),
    ]:
        with pytest.raises(InvalidInput) as raised:
            pki.check_node(ca, a_cert, a_key, node)
        assert "new token" in raised.value.advice


def test_a_servers_certificate_opens_no_door_inside(authority: pki.Authority) -> None:
    cert, key = pki.issue_server(authority, "backup main", ["backup.example.lan", "10.78.0.151"])
    certificate = x509.load_pem_x509_certificate(cert)
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.cert_pem))
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH], "etcd takes no client that shows it"
    assert pki.names_of(cert) == {"backup.example.lan", "10.78.0.151"}
    pki.check_server(cert, key, "backup.example.lan")


def test_an_operators_own_certificate_is_checked(authority: pki.Authority) -> None:
    cert, key = pki.issue_server(authority, "x", ["*.example.lan"])
    _, other = pki.issue_server(authority, "y", ["backup.example.lan"])
    pki.check_server(cert + authority.cert_pem, key, "backup.example.lan")
    for a_cert, a_key, name, why in [
        (cert, other, "backup.example.lan", "not that of"),
        (cert, key, "a.backup.example.lan", r"good for \*\.example\.lan and not for"),
        (b"nonsense", key, "backup.example.lan", "cannot be used"),
        (cert, b"nonsense", "backup.example.lan", "cannot be used"),
        (authority.cert_pem, authority.key_pem, "backup.example.lan", "good for no name"),
    ]:
        with pytest.raises(InvalidInput, match=why):
            pki.check_server(a_cert, a_key, name)


def test_the_authority_key_opens_only_with_its_secret(authority: pki.Authority) -> None:
    secret = secrets.new_secret()
    locked = locks.lock(authority.key_pem, secret)
    assert "PRIVATE" not in locked
    assert locks.unlock(locked, secret) == authority.key_pem
    for wrong in (secrets.new_secret(), b"short"):
        with pytest.raises(ConfigError, match="does not unlock"):
            locks.unlock(locked, wrong)


def test_secret_files_are_checked(tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.write_bytes(secrets.new_secret())
    assert len(secrets.read_secret(good)) == 32
    (tmp_path / "short").write_bytes(b"x")
    for name in ("short", "absent"):
        with pytest.raises(ConfigError, match=name):
            secrets.read_secret(tmp_path / name)
