"""Joining by token over real TLS: the machine and the cluster prove themselves to each other, a token is good once and for a
time, and who has none, or stands in between, gets nothing."""

import asyncio
import base64
import contextlib
import hashlib
import json
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from api_world import put
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from people_world import Panel, panel
from trust_world import World

from holdfast import config as node_config
from holdfast.api.audit import PER_SOURCE
from holdfast.api.join_limit import PER_ADDRESS, WINDOW_S
from holdfast.api.server import make_server, tls_context
from holdfast.bootstrap import certificates, enrol, files, pki, ring, token
from holdfast.bootstrap.trust import JoinToken, NodeTrust
from holdfast.config import Tls
from holdfast.core.model import Exclusivity, InstanceSpec, NodeSpec, Role
from holdfast.errors import Conflict, HoldfastError, InvalidInput, NotPermitted
from holdfast.services.admin_panel import PanelProbe
from holdfast.store import codec, keys

N9 = NodeSpec("n9", (Role.COMPUTE,), {"management": "10.77.0.19"})
SEALING = base64.b64encode(b"\x09" + bytes(31)).decode()


class Served:
    """A panel process behind TLS on loopback, and the cluster's trust."""

    def __init__(self, panel: Panel, world: World, url: str) -> None:
        self.panel = panel
        self.world = world
        self.url = url

    async def token(self, node: str = "n9", expires_s: float = 3600.0) -> token.Token:
        answer = await self.panel.call("root", "POST", f"/nodes/{node}/tokens", {"expires_s": expires_s})
        assert answer.status_code == 200, answer.text
        return replace(token.parse(answer.json()["data"]["token"]), urls=(self.url,))

    async def join(self, text: str, root: Path, **more: Any) -> node_config.NodeConfig:
        return await asyncio.to_thread(enrol.join_by_token, text, (), root, **more)


@contextlib.asynccontextmanager
async def tls_server(app: Any, ca: pki.Authority, where: Path) -> AsyncIterator[str]:
    """URL of the application behind TLS, with a certificate of this authority."""
    where.mkdir(exist_ok=True)
    cert, key = pki.issue_node(ca, "n1", ["127.0.0.1"])
    (where / "crt").write_bytes(cert)
    (where / "key").write_bytes(key)
    listener = socket.create_server(("127.0.0.1", 0))
    server = make_server(app, tls_context(Tls("", str(where / "crt"), str(where / "key"))))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    where = tmp_path / "world"
    async with panel(pki_dir=where / "n1/etc/holdfast/pki") as made:
        world = World(where, made.context.store)
        await put(world.store, {keys.node_spec("n9"): N9})
        await world.seed("n1")
        async with tls_server(made.app, world.ca, tmp_path / "tls") as url:
            yield Served(made, world, url)


def wish(one: token.Token, **more: str) -> dict[str, str]:
    request, _ = pki.new_request(one.node)
    return {"id": one.id, "secret": one.secret, "request": request.decode(), "sealing_key": SEALING, **more}


async def post(served: Served, body: object) -> tuple[int, dict[str, Any]]:
    async with served.panel.client() as client:
        answer = await client.post("/api/v1/join", json=body)
    return answer.status_code, answer.json()


# --- what is to work ----------------------------------------------------------------------------------------------------


async def test_a_machine_joins_and_its_private_key_never_leaves_it(served: Served, tmp_path: Path) -> None:
    one = await served.token()
    root = tmp_path / "n9"
    config = await served.join(one.text, root)
    where = files.below(root, str(files.PKI_DIR))
    assert (config.id, config.cluster) == ("n9", "demo") and node_config.load(root / "etc/holdfast/node.toml") == config
    present = {path.name: path.read_bytes() for path in where.iterdir()}
    pki.check_node(present["ca.crt"], present["node.crt"], present["node.key"], "n9")
    assert present["beat.key"] == served.world.ring.beat
    assert "cluster.secret" not in present, "a node that only computes needs it for nothing"
    assert {path.stat().st_mode & 0o777 for path in where.glob("*.key")} == {0o600}
    stored = "".join(entry.value.decode() for entry in (await served.world.store.list("")).entries)
    assert "PRIVATE" not in stored and one.secret not in stored
    known = await served.world.read(keys.trust_node("n9"), NodeTrust)
    assert known.issued[0].serial == certificates.facts(present["node.crt"]).serial
    assert known.sealing_key == ring.public_text(ring.sealing_key(where))
    assert (await served.panel.call("root", "GET", "/tokens/join")).json()["items"] == []


async def test_a_replaced_machine_joins_under_the_old_name_and_what_it_had_is_revoked(
    served: Served, tmp_path: Path
) -> None:
    await served.join((await served.token()).text, tmp_path / "a")
    first = (files.below(tmp_path / "a", str(files.PKI_DIR)) / files.NODE_CERT).read_bytes()
    with pytest.raises(Conflict, match="belongs to a cluster already"):
        await served.join((await served.token()).text, tmp_path / "a")
    await served.join((await served.token()).text, tmp_path / "a", again=True)
    second = (files.below(tmp_path / "a", str(files.PKI_DIR)) / files.NODE_CERT).read_bytes()
    revoked = {one.serial for one in (await served.world.trust()).revoked}
    assert certificates.facts(first).serial in revoked and certificates.facts(second).serial not in revoked
    with pytest.raises(Conflict, match="this machine is node n9"):
        await served.join((await served.token("n2")).text, tmp_path / "a", again=True)


async def test_a_node_is_added_with_its_token_in_one_step_and_the_token_can_be_revoked(served: Served) -> None:
    body = {"id": "n8", "roles": ["compute"], "addresses": {"management": "10.77.0.18"}, "token_s": 600}
    answer = await served.panel.call("root", "POST", "/nodes", body)
    one = token.parse(answer.json()["data"]["token"])
    assert (one.node, one.urls) == ("n8", ("https://10.77.0.11:8443",))
    listed = (await served.panel.call("root", "GET", "/tokens/join")).json()["items"]
    assert [(item["id"], item["node"]) for item in listed] == [(one.id, "n8")]
    assert one.secret not in json.dumps(listed)
    assert (await served.panel.call("root", "DELETE", f"/tokens/join/{one.id}")).status_code == 200
    assert (await served.panel.call("root", "DELETE", f"/tokens/join/{one.id}")).status_code == 404
    assert (await post(served, wish(one)))[0] == 403


# --- attacks ------------------------------------------------------------------------------------------------------------


async def test_a_token_is_good_once_even_for_two_at_the_same_time(served: Served) -> None:
    one = await served.token()
    answers = await asyncio.gather(*(post(served, wish(one)) for _ in range(4)))
    assert sorted(status for status, _ in answers) == [200, 403, 403, 403]
    status, said = await post(served, wish(one))
    assert status == 403 and "not valid (any more)" in said["detail"]


async def test_an_expired_a_guessed_and_an_unknown_token_are_refused_alike(served: Served) -> None:
    one = await served.token()
    record = await served.world.read(keys.join_token(one.id), JoinToken)
    await put(served.world.store, {keys.join_token("0123"): replace(record, expires="2020-01-01T00:00:00+00:00")})
    tried = [
        wish(one, id="0123"),
        wish(one, secret="0" * 64),
        wish(one, id="ffff"),
        wish(one, id="../spec/cluster"),
        wish(one, secret=hashlib.sha256(one.secret.encode()).hexdigest()),  # what the store holds
    ]
    said = [await post(served, body) for body in tried]
    assert {status for status, _ in said} == {403}
    assert len({body["detail"] for _, body in said}) == 1, "nobody learns which part was wrong"
    assert (await post(served, wish(one)))[0] == 200, "the right one still works"


def _request(name: str, key: Any) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


async def test_a_forged_request_gets_no_certificate_and_spends_nothing(served: Served) -> None:
    one = await served.token()
    sound = _request("n9", ec.generate_private_key(ec.SECP256R1()))
    body = sound.splitlines()
    turned = "\n".join([body[0], body[1][:40] + ("A" if body[1][40] != "A" else "B") + body[1][41:], *body[2:]])
    for request in (
        _request("n1", ec.generate_private_key(ec.SECP256R1())),  # another node's name
        _request("n9", rsa.generate_private_key(65537, 2048)),
        _request("n9", ec.generate_private_key(ec.SECP384R1())),
        turned,
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        "",
    ):
        status, said = await post(served, wish(one, request=request))
        assert (status, "request" in said["detail"]) == (422, True), said
    assert (await post(served, wish(one, sealing_key="AAAA")))[0] == 422
    assert (await post(served, wish(one)))[0] == 200


async def test_a_request_that_asks_for_more_names_gets_those_of_its_node(served: Served) -> None:
    one = await served.token()
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName("n1"), x509.DNSName("panel.example.org")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "n9")])
    )
    request = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    pem = request.public_bytes(serialization.Encoding.PEM).decode()
    _, given = await post(served, wish(one, request=pem))
    certificate = base64.b64decode(given["files"][files.NODE_CERT])
    assert pki.names_of(certificate) == {"n9", "localhost", "127.0.0.1", "::1", "10.77.0.19"}
    constraints = x509.load_pem_x509_certificate(certificate).extensions.get_extension_for_class(x509.BasicConstraints)
    assert not constraints.value.ca


async def test_who_stands_in_between_is_told_nothing(served: Served, tmp_path: Path) -> None:
    """A server with another authority of the same name, that hands the true authority's certificate on."""
    one = await served.token()
    heard: list[bytes] = []
    false_ca = pki.create_authority("demo")

    async def liar(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        heard.append(message.get("body", b""))
        shown = served.world.ca.cert_pem if len(heard) % 2 else false_ca.cert_pem
        body = json.dumps({"certificates": shown.decode()}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})

    async with tls_server(liar, false_ca, tmp_path / "liar") as url:
        for _ in range(2):
            with pytest.raises(NotPermitted, match=r"not one of this cluster|not the cluster that this token"):
                await served.join(replace(one, urls=(url,)).text, tmp_path / "n9")
    assert len(heard) == 2 and not any(heard), "it was asked for the certificate, and told no secret"
    assert not (tmp_path / "n9/etc/holdfast/node.toml").exists()
    assert (await post(served, wish(one)))[0] == 200


async def test_plain_tcp_and_old_tls_are_not_spoken(served: Served, tmp_path: Path) -> None:
    one = await served.token()
    host, port = served.url.removeprefix("https://").split(":")
    with pytest.raises(HoldfastError, match="no URL of the API"):
        await served.join(replace(one, urls=(f"http://{host}:{port}",)).text, tmp_path / "n9")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /api/v1/join HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        assert b"HTTP/1.1 2" not in await reader.read(1000)
    writer.close()
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning):
        old.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection(host, int(port), ssl=old)


async def test_tries_are_limited_and_bodies_small(served: Served) -> None:
    one = await served.token()
    assert (await post(served, wish(one, request="x" * 5000)))[0] in (400, 422)
    statuses = [(await post(served, wish(one, secret="0" * 64)))[0] for _ in range(PER_ADDRESS + 1)]
    assert statuses[-1] == 429 and statuses[0] == 403
    assert (await post(served, wish(one)))[0] == 429, "also with the right one, for a minute"
    async with served.panel.client() as client:
        refused = await client.post("/api/v1/join", json=wish(one))
    assert 0 < int(refused.headers["retry-after"]) <= WINDOW_S + 1


async def test_who_tries_tokens_stands_in_the_audit_once_in_a_while(served: Served) -> None:
    one = await served.token()
    for secret in ("0" * 64, "1" * 64):
        assert (await post(served, wish(one, secret=secret)))[0] == 403
    assert (await post(served, wish(one, request="no request")))[0] == 422
    for _ in range(PER_ADDRESS):
        await post(served, wish(one, secret="2" * 64))
    await served.panel.caught_up()
    found = (await served.panel.call("root", "GET", "/audit?operation=join-refused")).json()["items"]
    assert {line["address"] for line in found} == {"192.0.2.1"}
    assert len(found) == PER_SOURCE, "noise is bounded"
    assert {line["text"] for line in found} == {
        "this join token is not valid (any more)",
        "the certificate request cannot be used: it cannot be read",
    }
    assert not any(text in str(found) for text in ("0" * 64, one.secret))


async def test_only_an_administrator_makes_sees_and_revokes_tokens(served: Served) -> None:
    for who in ("vera", "otto"):
        assert (await served.panel.call(who, "POST", "/nodes/n9/tokens", {})).status_code == 403
        assert (await served.panel.call(who, "GET", "/tokens/join")).status_code == 403
        assert (await served.panel.call(who, "POST", "/certificates/authority")).status_code == 403
    async with served.panel.client() as client:
        assert (await client.post("/api/v1/nodes/n9/tokens", json={})).status_code == 401
        assert (await client.get("/api/v1/certificates")).status_code == 401


@pytest.mark.parametrize("text", ["", "hf1-", "hf1-!!!!", "hf1-AAAA", "x" * 5000, "hf1-" + "A" * 3000])
def test_what_is_no_token_is_said_to_be_none(text: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not a join token"):
        enrol.join_by_token(text, (), tmp_path)


def test_the_audit_and_the_representation_show_no_secret() -> None:
    one = token.new_token("n9", "ab" * 32, ("https://10.77.0.11:8443",))
    assert one.secret not in repr(one)
    assert token.parse(one.text) == one
    assert one.secret not in codec.encode(JoinToken("n9", token.digest(one.secret), "x")).decode()


async def test_a_removed_management_node_does_not_pass_for_the_panel(served: Served, tmp_path: Path) -> None:
    """Its certificate names the panel's address, and it may take that too: the agents' health check sees through it."""
    where = served.world.pki("n1")
    port = int(served.url.rpartition(":")[2])
    config = node_config.NodeConfig("n1", "demo", {"management": "127.0.0.1"}, (), tls=Tls(str(where / files.CA_CERT)))
    probe = PanelProbe(config, port=port)
    instance = InstanceSpec("panel/admin", "panel", "admin", Exclusivity.ADVISORY, Role.MANAGEMENT)
    assert await probe.check(instance, timeout=5.0) == ""
    serial = certificates.facts((tmp_path / "tls/crt").read_bytes()).serial
    (where / files.CRL).write_bytes(certificates.revocations(served.world.ca, [serial]))
    assert "revoked" in await probe.check(instance, timeout=5.0)
    (where / files.CRL).write_bytes(b"damaged")
    assert await probe.check(instance, timeout=5.0) == "", "the panel is not called ill for a damaged file"
