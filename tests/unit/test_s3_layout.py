"""S3 clusters as they are stored, the instances they become, and the files that follow from them."""

import configparser
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from swift.common.ring.ring import RingData

from holdfast.core.model import Exclusivity, ServiceAddress
from holdfast.errors import DriverError, InvalidInput
from holdfast.services.s3 import conf
from holdfast.services.s3.config import (
    NAME_DEVICES,
    OBJECT_DEVICES,
    S3Cluster,
    S3User,
    from_instance,
    instance_specs,
    new_cluster,
    server_counts,
    validate,
    with_server,
)
from holdfast.services.s3.devices import PartDirectory
from holdfast.services.s3.rings import ring_files
from holdfast.services.s3.users import PROBE_OWNER, key_table, new_key, new_owner
from holdfast.store.codec import decode, encode

SECRET = bytes(range(32))


def address(number: int, network: str = "storage") -> ServiceAddress:
    return ServiceAddress(f"10.0.0.{number}", network)


def cluster(names: int = 6, objects: int = 6, **fields: Any) -> S3Cluster:
    return new_cluster(
        fields.pop("name", "main"),
        fields.pop("domain", "S3.Example.org."),
        {f"n{number}": address(number, "public") for number in (1, 2, 3)},
        [address(20 + number) for number in range(names)],
        [address(120 + number) for number in range(objects)],
        hash_prefix="prefix",
        hash_suffix="suffix",
        probe=new_key(SECRET)[0],
        **fields,
    )


@pytest.mark.parametrize("nodes", [2, 3, 4, 5])
def test_object_servers_are_even_before_and_after_a_nodes_death(nodes: int) -> None:
    _, objects = server_counts(nodes)
    assert objects % nodes == 0
    assert objects % (nodes - 1) == 0


@pytest.mark.parametrize("nodes", [1, 3, 6, 9, 16, 64])
def test_there_are_never_more_servers_than_devices(nodes: int) -> None:
    names, objects = server_counts(nodes)
    assert 1 <= names <= NAME_DEVICES
    assert 1 <= objects <= OBJECT_DEVICES


def test_a_cluster_is_stored_and_read_back_and_its_secrets_are_in_no_message() -> None:
    made = cluster()
    assert decode(encode(made), S3Cluster) == made
    assert made.domain == "s3.example.org"
    for secret in (made.hash_prefix, made.hash_suffix, made.probe.secret):
        assert secret not in repr(made)


def test_instances() -> None:
    specs = {spec.id: spec for spec in instance_specs(cluster(1, 2), ha=False)}
    assert sorted(specs) == [
        *("s3/main/bg", "s3/main/gw-n1", "s3/main/gw-n2", "s3/main/gw-n3", "s3/main/ns-1", "s3/main/os-1"),
        "s3/main/os-2",
    ]
    assert all(spec.nodes == ("n1", "n2", "n3") and not spec.ha for spec in specs.values())
    gateway, server = specs["s3/main/gw-n2"], specs["s3/main/os-2"]
    assert (gateway.exclusivity, gateway.home) == (Exclusivity.EVERYWHERE, "n2")
    assert gateway.names == ("s3.example.org", "*.s3.example.org")
    assert (server.exclusivity, server.address) == (Exclusivity.STRICT, address(121))
    assert specs["s3/main/bg"].address is None
    assert from_instance(server).part == "os-2"
    with pytest.raises(InvalidInput, match="another part"):
        from_instance(replace(server, id="s3/main/os-1"))
    with pytest.raises(InvalidInput, match="not that of a part"):
        from_instance(replace(server, config={}))


@pytest.mark.parametrize(
    ("fields", "what"),
    [({"name": "Main"}, "name of an S3"), ({"domain": "localhost"}, "domain"), ({"region": "a b"}, "region")],
)
def test_bad_words_are_refused(fields: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidInput, match=what):
        cluster(**fields)


def test_an_address_is_used_once_and_so_is_a_device() -> None:
    made = cluster()
    with pytest.raises(InvalidInput, match="twice"):
        validate(replace(made, gateways={**made.gateways, "n1": address(20)}))
    with pytest.raises(InvalidInput, match="two servers"):
        validate(replace(made, object_servers={**made.object_servers, "os-1": made.object_servers["os-2"]}))


def test_a_server_that_is_added_takes_its_share_and_nothing_else_changes() -> None:
    made = cluster(2, 3)
    grown = with_server(made, "os", address(200))
    shares = Counter({part: len(server.devices) for part, server in grown.object_servers.items()})
    assert shares == {"os-1": 16, "os-2": 16, "os-3": 16, "os-4": 16}
    for part, server in made.object_servers.items():
        assert set(grown.object_servers[part].devices) < set(server.devices)
    assert grown.name_servers == made.name_servers
    full = cluster(NAME_DEVICES, 1)
    with pytest.raises(InvalidInput, match="already"):
        with_server(full, "ns", address(200))


def read(name: str, content: bytes, directory: Path) -> RingData:
    (directory / f"{name}.ring.gz").write_bytes(content)
    return RingData.load(str(directory / f"{name}.ring.gz"))


def test_swift_reads_the_rings_and_a_growth_changes_addresses_alone(tmp_path: Path) -> None:
    made = cluster(2, 3)
    grown = with_server(made, "os", address(200))
    assert ring_files(made) == ring_files(made)
    before = read("object", ring_files(made)["object.ring.gz"], tmp_path)
    after = read("object", ring_files(grown)["object.ring.gz"], tmp_path)
    assert before.replica_count == 1
    assert before.part_power == made.part_power
    assert before._replica2part2dev_id == after._replica2part2dev_id
    assert [device["device"] for device in before.devs] == [device["device"] for device in after.devs]
    assert {device["port"] for device in before.devs} == {6200}
    moved = [device["device"] for device in after.devs if device["ip"] == "10.0.0.200"]
    assert moved == list(grown.object_servers["os-4"].devices)
    share = Counter(before._replica2part2dev_id[0])
    assert len(share) == OBJECT_DEVICES
    assert len(set(share.values())) == 1


def place(directory: Path) -> conf.Place:
    return conf.Place(str(directory), str(directory), str(directory / "dev"), str(directory / "keys.json"))


def sections(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    return parser


@pytest.mark.parametrize("part", ["gw-n1", "bg"])
def test_every_proxy_asks_one_server_and_never_avoids_one(part: str, tmp_path: Path) -> None:
    """Without these two an acknowledged write is lost, or a server that moved is not asked for a minute."""
    texts = conf.files(cluster(), part, place(tmp_path)).values()
    apps = [app for text in texts if "app:proxy-server" in (app := sections(text))]
    assert len(apps) == 1
    for app in apps:
        assert app["app:proxy-server"]["request_node_count"] == "1"
        assert app["app:proxy-server"]["error_suppression_interval"] == "0"
        assert " unreachable " in app["pipeline:main"]["pipeline"]


def test_a_gateway_drops_claims_before_it_looks_who_asks(tmp_path: Path) -> None:
    text = conf.files(cluster(), "gw-n1", place(tmp_path))["gateway.conf"]
    pipeline = sections(text)["pipeline:main"]["pipeline"].split()
    assert pipeline.index("strip") < pipeline.index("s3api") < pipeline.index("auth") < pipeline.index("slo")
    assert all(f"filter:{name}" in sections(text) for name in pipeline[:-1])


def test_ports_and_processes_of_each_part(tmp_path: Path) -> None:
    made = cluster()

    def ports(part: str) -> list[int]:
        program = conf.program(made, part, place(tmp_path), address="10.0.0.1", workers=2)
        assert [listener.port for listener in program.listeners] == list(conf.ports(made, part))
        return [listener.port for listener in program.listeners]

    assert (ports("ns-1"), ports("os-1"), ports("gw-n1"), ports("bg")) == ([6202, 6201], [6200], [80], [])


def test_keys_that_may_be_used() -> None:
    made = cluster()
    (good, secret), (off, _) = new_key(SECRET), new_key(SECRET)
    users = [
        S3User("alice", "a1", (good, replace(off, enabled=False))),
        S3User("bob", "b1", (new_key(SECRET)[0],), enabled=False),
    ]
    table = key_table(made, users, SECRET)
    assert table[good.id] == {"secret": secret, "owner": "a1"}
    assert table[made.probe.id]["owner"] == PROBE_OWNER
    assert len(table) == 2
    assert secret not in good.secret
    assert new_owner() != new_owner()


# --- devices --------------------------------------------------------------------------------------------------------


def part(directory: Path, made: S3Cluster, name: str) -> PartDirectory:
    (directory / "s3/main").mkdir(parents=True, exist_ok=True)
    found = PartDirectory(directory, made, name)
    found.make()
    return found


def test_each_device_is_in_one_place_whatever_happens(tmp_path: Path) -> None:
    made = cluster(1, 2)
    first, second = part(tmp_path, made, "os-1"), part(tmp_path, made, "os-2")
    assert first.take() == second.take() == frozenset()
    (first.devices / "o00" / "object").touch()
    grown = with_server(made, "os", address(200))
    taken = grown.object_servers["os-3"].devices
    third = part(tmp_path, grown, "os-3")
    assert third.take() == frozenset(taken), "their servers still have them: nothing is made anew"
    for name in ("os-1", "os-2"):
        giver = part(tmp_path, grown, name)
        assert giver.too_many()
        giver.give()
        assert not giver.too_many()
    assert third.take() == frozenset()
    everywhere = [entry.name for entry in tmp_path.glob("s3/main/*/dev/o*")]
    assert sorted(everywhere) == [f"o{number:02d}" for number in range(OBJECT_DEVICES)]
    assert len(list(tmp_path.glob("s3/main/os-*/dev/o00/object"))) == 1


def test_the_devices_are_made_once(tmp_path: Path) -> None:
    made = cluster(1, 1)
    part(tmp_path, made, "ns-1").take()
    part(tmp_path, made, "os-1").take()
    again = part(tmp_path, made, "os-1")
    (again.devices / "o07").rename(tmp_path / "lost")
    assert again.take() == {"o07"}, "a device that is gone is missed, not replaced by an empty one"


def test_an_empty_storage_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="is not on the shared storage"):
        PartDirectory(tmp_path, cluster(1, 1), "os-1").make()
    assert list(tmp_path.iterdir()) == []


def test_a_user_who_may_not_pass_is_told_where(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(DriverError, match=f"may not enter {closed}|may not enter"):
        part(closed, replace(cluster(1, 1), uid=4711), "os-1")
