"""Zones, update targets and secondaries: through the command line, as an operator meets them."""

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cli_world import Cluster, served

from holdfast import locks
from holdfast.bootstrap.secrets import new_secret
from holdfast.core.dns_model import DnsRecords, Secondary, ServedZone, UpdateState, UpdateTarget, Zone
from holdfast.core.model import (
    Exclusivity,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
    Placement,
    Role,
    ServiceAddress,
)
from holdfast.store import keys
from holdfast.store.codec import decode

ZONE = "cloud.example.com"
SECRET = base64.b64encode(b"a secret of enough bytes").decode()
CLUSTER_SECRET = new_secret()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Cluster]:
    with served(tmp_path, monkeypatch, capsys, cluster_secret=lambda: CLUSTER_SECRET) as made:
        yield made


def stored(cluster: Cluster, key: str, kind: type) -> object:
    entry = cluster.do(cluster.context.store.get(key))
    return decode(entry.value, kind) if entry else None


def test_a_zone_from_its_creation_to_its_end(cluster: Cluster) -> None:
    made = cluster.run("dns", "zone", "create", "Cloud.Example.Com.", "--server", "ns.elsewhere.net", "--json")
    assert made.status == 0, made.err
    assert made.json["data"]["servers"] == {f"ns-n1.{ZONE}": "10.78.0.11"}
    assert any("delegated" in text for text in made.json["warnings"])
    assert any("one name server" in text for text in made.json["warnings"]), "management is not highly available"
    zone = stored(cluster, keys.dns_zone(ZONE), Zone)
    assert zone == Zone(ZONE, f"hostmaster@{ZONE}", "public", servers=("ns.elsewhere.net",))
    assert "not published yet" in cluster.run("dns", "zone", "list").out
    for name in (ZONE, f"sub.{ZONE}", "example.com"):
        again = cluster.run("dns", "zone", "create", name)
        assert again.status != 0 and "Error" in again.err, name
    assert cluster.run("dns", "zone", "delete", ZONE).status == 0
    assert stored(cluster, keys.dns_zone(ZONE), Zone) is None
    assert "does not exist" in cluster.run("dns", "zone", "delete", ZONE).err


def test_other_management_nodes_are_other_name_servers(cluster: Cluster) -> None:
    assert cluster.run("dns", "zone", "create", ZONE).status == 0
    cluster.managed.set()
    enabled = cluster.run("ha", "enable", "--virtual-ip", "10.77.0.100", "--nodes", "n1,n2,n3")
    assert enabled.status == 0 and f"name servers of {ZONE} change" in enabled.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("local",), "fully qualified"),
        (("-x.example.com",), ""),
        (("under score.example.com",), "fully qualified"),
        ((ZONE, "--network", "storage"), "storage"),
        ((ZONE, "--ttl", "99999999"), "TTL"),
        ((ZONE, "--hostmaster", "nobody"), "mail address"),
    ],
)
def test_a_zone_that_cannot_be(cluster: Cluster, words: tuple[str, ...], said: str) -> None:
    refused = cluster.run("dns", "zone", "create", *words)
    assert refused.status != 0 and said in refused.err


def test_update_targets_keep_their_secret(cluster: Cluster, tmp_path: Path) -> None:
    """From the file that tsig-keygen writes; locked in the store; in no answer."""
    file = tmp_path / "cluster.key"
    file.write_text(f'key "cluster-key" {{\n\talgorithm hmac-sha512;\n\tsecret "{SECRET}";\n}};\n')
    words = ("--server", "192.0.2.53", "--zone", ZONE, "--key", "cluster-key", "--algorithm", "hmac-sha512")
    made = cluster.run("dns", "update-target", "add", "office", *words, "--secret-file", str(file))
    assert made.status == 0, made.err
    target = stored(cluster, keys.dns_target("office"), UpdateTarget)
    assert isinstance(target, UpdateTarget)
    assert locks.unlock(target.key.secret, CLUSTER_SECRET).decode() == SECRET and SECRET not in target.key.secret
    cluster.put({keys.dns_state("office"): UpdateState(5, (), "the key is wrong", "")})
    listed = cluster.run("dns", "update-target", "list")
    assert "the key is wrong" in listed.out
    shown = cluster.run("dns", "show", "--json").out
    assert SECRET not in shown and target.key.secret not in shown and "cluster-key" in shown
    assert "already" in cluster.run("dns", "update-target", "add", "two", *words, "--secret-file", str(file)).err
    assert cluster.run("dns", "update-target", "remove", "office").status == 0
    assert stored(cluster, keys.dns_state("office"), UpdateState) is None


@pytest.mark.parametrize(
    ("secret", "more", "said"),
    [
        ("not base64!", (), "Base64"),
        ("c2hvcnQ=", (), "Base64"),
        (SECRET, ("--algorithm", "hmac-md5"), "algorithm"),
        (SECRET, ("--server", "name.example"), "IP address"),
    ],
)
def test_an_update_target_that_cannot_be(
    cluster: Cluster, tmp_path: Path, secret: str, more: tuple[str, ...], said: str
) -> None:
    file = tmp_path / "secret"
    file.write_text(secret)
    words = ["--server", "192.0.2.53", "--zone", ZONE, "--key", "k", "--secret-file", str(file), *more]
    refused = cluster.run("dns", "update-target", "add", "office", *words)
    assert refused.status != 0 and said in refused.err


def test_secondaries(cluster: Cluster) -> None:
    open_to_all = cluster.run("dns", "secondary", "add", "plain", "--address", "192.0.2.0/24")
    assert open_to_all.status == 0 and "Without a key" in open_to_all.err
    made = cluster.run(
        "dns", "secondary", "add", "office", "--address", "192.0.2.53,2001:db8::53", "--key", "k", "--generate",
        "--notify", "[2001:db8::53]:5353", "--json",
    )  # fmt: skip
    assert made.status == 0, made.err
    office = stored(cluster, keys.dns_secondary("office"), Secondary)
    assert isinstance(office, Secondary) and office.key is not None
    assert office.notify == (("2001:db8::53", 5353),)
    assert locks.unlock(office.key.secret, CLUSTER_SECRET).decode() == made.json["secret"]
    plain = stored(cluster, keys.dns_secondary("plain"), Secondary)
    assert isinstance(plain, Secondary) and plain.notify == (), "a prefix is not told"
    assert "office" in cluster.run("dns", "secondary", "list").out
    refused = cluster.run("dns", "secondary", "add", "half", "--address", "192.0.2.1", "--key", "k")
    assert refused.status != 0 and "a name and a secret" in refused.err
    assert cluster.run("dns", "secondary", "remove", "office").status == 0


def test_show_says_why_each_address_is_in_or_out(cluster: Cluster) -> None:
    gateways: dict[str, object] = {}
    for number, healthy in ((1, True), (2, False)):
        home = f"n{number}"
        spec = InstanceSpec(
            f"s3/main/gw-{home}", "s3", "main", Exclusivity.EVERYWHERE, Role.S3, home=home,
            address=ServiceAddress(f"10.78.0.6{number}", "public"), names=(f"s3.{ZONE}", "lost.example.org"),
        )  # fmt: skip
        gateways[keys.instance(spec.id)] = spec
        gateways[keys.placement(spec.id)] = Placement(home, 7, 1)
        gateways[keys.status(spec.id)] = InstanceStatus(
            home, f"s{number}", 7, InstanceState.RUNNING, "the back-end is away", healthy=healthy
        )
    zone = Zone(ZONE, "a@example.com", "public")
    books = (ServedZone(ZONE, "a@example.com", 5, 5, {f"ns-n1.{ZONE}": ("10.78.0.11",)}),)
    names = {f"s3.{ZONE}": ("10.78.0.61",)}
    cluster.put({**gateways, keys.dns_zone(ZONE): zone, keys.DNS_RECORDS: DnsRecords(names, 42, "then", books)})
    shown = cluster.run("dns", "show")
    lines = {tuple(line.split())[:3]: line for line in shown.out.splitlines() if line.startswith("s3.")}
    assert "healthy on n1" in lines[f"s3.{ZONE}", "10.78.0.61", "yes"]
    assert "does not answer on n2: the back-end is away" in lines[f"s3.{ZONE}", "10.78.0.62", "no"]
    assert "lost.example.org lies in no zone" in shown.err
    assert "10.78.0.11" in cluster.run("dns", "zone", "list").out
    assert cluster.run("dns", "show", "--json").json["serial"] == 42
    clash = cluster.run("dns", "zone", "create", "example.org")
    assert clash.status == 0, clash.err
    spec = gateways[keys.instance("s3/main/gw-n1")]
    assert isinstance(spec, InstanceSpec)
    cluster.put({keys.instance(spec.id): replace(spec, names=("ns-n1.third.example",))})
    assert "is a name of" in cluster.run("dns", "zone", "create", "third.example").err


def test_names_of_ordinary_service_addresses(cluster: Cluster) -> None:
    address = ServiceAddress("10.78.0.50", "public")
    volume = InstanceSpec("nfs/vol1", "nfs", "vol1", Exclusivity.STRICT, Role.STORAGE, address=address)
    gateway = replace(volume, id="s3/main/gw-n1", kind="s3", exclusivity=Exclusivity.EVERYWHERE, home="n1")
    cluster.put({keys.instance(spec.id): spec for spec in (volume, gateway)})
    added = cluster.run("dns", "name", "add", f"Vol1.{ZONE}", "nfs/vol1")
    assert added.status == 0 and "10.78.0.50" in added.out and "lies in no zone" in added.err
    assert stored(cluster, keys.instance("nfs/vol1"), InstanceSpec) == replace(volume, names=(f"vol1.{ZONE}",))
    assert f"vol1.{ZONE}" in cluster.run("dns", "show").out
    assert "already" in cluster.run("dns", "name", "add", f"vol1.{ZONE}", "nfs/vol1").err
    assert "no address" in cluster.run("dns", "name", "add", f"p.{ZONE}", "panel/admin").err
    assert "of its cluster" in cluster.run("dns", "name", "add", f"x.{ZONE}", "s3/main/gw-n1").err
    assert "does not exist" in cluster.run("dns", "name", "add", f"x.{ZONE}", "nfs/vol9").err
    assert cluster.run("dns", "name", "remove", f"vol1.{ZONE}", "nfs/vol1").status == 0
    assert "is no name of" in cluster.run("dns", "name", "remove", f"vol1.{ZONE}", "nfs/vol1").err


def test_a_test_without_a_zone_says_so(cluster: Cluster) -> None:
    tested = cluster.run("dns", "test")
    assert tested.status == 0 and "no zone yet" in tested.out
    assert "not an IP address" in cluster.run("dns", "test", "--resolver", "name").err
