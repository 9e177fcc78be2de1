"""What a lab BMC needs besides itself: a listening socket in a network namespace, and a certificate."""

import ctypes
import datetime
import ipaddress
import os
import socket
import threading
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_CLONE_NEWNET = 0x40000000


def listening_socket(host: str, port: int, netns: str | int | None = None) -> socket.socket:
    """A TCP socket that listens on host:port in the network namespace `netns` (a path such as /run/netns/NAME or
    /proc/PID/ns/net, or an open descriptor of one; None: this process's own). It may be served from anywhere."""
    if netns is None:
        return _listen(host, port)
    made: list[socket.socket | BaseException] = []

    def inside() -> None:
        # setns() changes the calling thread alone, and this thread ends right afterwards.
        try:
            fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC) if isinstance(netns, str) else os.dup(netns)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(fd, _CLONE_NEWNET) != 0:
                    number = ctypes.get_errno()
                    raise OSError(number, f"entering network namespace {netns}: {os.strerror(number)}")
            finally:
                os.close(fd)
            made.append(_listen(host, port))
        except BaseException as error:
            made.append(error)

    thread = threading.Thread(target=inside, name="lab-netns")
    thread.start()
    thread.join()
    if isinstance(made[0], BaseException):
        raise made[0]
    return made[0]


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(64)
    except OSError:
        listener.close()
        raise
    return listener


def make_certificate(directory: Path, host: str, name: str = "bmc") -> tuple[Path, Path]:
    """A self-signed certificate for an IP address or host name, as BMCs bring one; returns (certificate, key) files.

    The certificate is its own CA, so it can be given to a client as the `ca` to trust.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        alternative = x509.DNSName(host)
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    directory.mkdir(parents=True, exist_ok=True)
    cert_path, key_path = directory / f"{name}.crt", directory / f"{name}.key"
    cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.touch(mode=0o600)
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_path, key_path
