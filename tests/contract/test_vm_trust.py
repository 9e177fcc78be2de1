"""Live migration's TLS follows the node's certificate and the list of revoked ones: real libvirtd, no machine."""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from vm_nodes import Bench, VmNode, bench, network

from holdfast.bootstrap import certificates, pki
from holdfast.services.vm.files import MIGRATION_PORT

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(os.geteuid() != 0 or not Path("/usr/sbin/libvirtd").exists(), reason="needs root and libvirt"),
]
HANG_S = 60.0


@pytest.fixture
def namespace() -> Iterator[None]:
    with network():
        yield


@pytest.fixture
async def world(namespace: None) -> AsyncIterator[Bench]:
    async with bench() as made:
        yield made


def spoken(world: Bench, server: VmNode, cert: Path, key: Path) -> int:
    """Serial of the certificate that the daemon shows to this client; 0 if it lets the client in no further."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(world.directory / "ca.crt")
    context.load_cert_chain(cert, key)
    host = server.place.listen
    # The first call of libvirt's protocol (remote_protocol.x): REMOTE_PROC_AUTH_LIST, which it answers to whom it knows.
    call = b"".join(n.to_bytes(4, "big") for n in (28, 0x20008086, 1, 66, 0, 1, 0))
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.suppress(OSError))
        plain = stack.enter_context(socket.create_connection((host, MIGRATION_PORT), 5))
        link = stack.enter_context(context.wrap_socket(plain, server_hostname=host))
        link.settimeout(5)
        der = link.getpeercert(True)
        if link.recv(1) != b"\1":  # it says so when it has checked the client
            return 0
        link.sendall(call)
        if link.recv(4) and der is not None:
            return x509.load_der_x509_certificate(der).serial_number
    return 0


async def until(world: Bench, node: VmNode, client: tuple[Path, Path], wanted: int) -> None:
    async with asyncio.timeout(HANG_S):
        while (await asyncio.to_thread(spoken, world, node, *client)) != wanted:
            await node.driver.prepare([world.machine("a")])
            await asyncio.sleep(0.2)


async def test_a_renewed_certificate_is_shown_and_a_revoked_one_not_let_in(world: Bench) -> None:
    n1, where = world.nodes["n1"], world.directory
    assert await n1.driver.prepare([world.machine("a")]) == {}
    pids = await n1.runner.running()
    cert, key = where / "n2.crt", where / "n2.key"
    await until(world, n1, (cert, key), int(certificates.facts((where / "n1.crt").read_bytes()).serial, 16))
    new, new_key = pki.issue_node(world.authority, "n1", [n1.place.listen])
    (where / "n1.key").write_bytes(new_key)
    (where / "n1.crt").write_bytes(new)
    await until(world, n1, (cert, key), int(certificates.facts(new).serial, 16))
    stolen = certificates.facts(cert.read_bytes()).serial
    (where / "crl.pem").write_bytes(certificates.revocations(world.authority, [stolen]))
    await until(world, n1, (cert, key), 0)
    other, other_key = pki.issue_node(world.authority, "n3", ["127.0.0.3"])
    (where / "n3.crt").write_bytes(other)
    (where / "n3.key").write_bytes(other_key)
    await until(world, n1, (where / "n3.crt", where / "n3.key"), int(certificates.facts(new).serial, 16))
    assert await n1.runner.running() == pids, "nothing was started anew"
