"""NFS volumes: what is accepted, and what ganesha is told. No golden file: each property that matters is looked for."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.model import Exclusivity, Role, ServiceAddress
from holdfast.errors import InvalidInput
from holdfast.services.nfs import config as nfs
from holdfast.services.nfs.config import AccessRule
from holdfast.store.codec import decode, encode

ADDRESS = ServiceAddress("10.78.0.101", "public")


def settings(text: str) -> dict[str, str]:
    """`Name = value;` pairs of a ganesha configuration, the last one of a name."""
    code = re.sub(r"#.*", "", text)
    return {name: value.strip().strip('"') for name, value in re.findall(r"(\w+)\s*=\s*([^;]+);", code)}


@pytest.mark.parametrize("name", ["a", "vol1", "home-dirs", "x_y", "0", "a" * 48])
def test_names_that_are_fine(name: str) -> None:
    assert nfs.new_volume(name, "/shared").path == f"/shared/nfs/{name}/data"


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "/etc", "A", "a b", "a\n", "-a", "a-", "a;b", 'a"', "ä", "a" * 49, "a\0b", "~"],
)
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="name of a volume"):
        nfs.new_volume(name, "/shared")


@given(st.text(max_size=60))
def test_no_name_escapes_its_directory(name: str) -> None:
    try:
        volume = nfs.new_volume(name, "/shared")
    except InvalidInput:
        return
    assert volume.path.split("/") == ["", "shared", "nfs", name, "data"]
    assert re.fullmatch("[a-z0-9_-]+", name)


@pytest.mark.parametrize(
    "path", ["/shared/nfs/v1/../v2", "/shared//v1/x", "relative/v1/data", "/s/v2/data", '/s/v1/a"b']
)
def test_paths_from_the_store_are_not_trusted(path: str) -> None:
    instance = nfs.instance_spec(nfs.new_volume("v1", "/shared"), ADDRESS)
    instance.config["path"] = path
    with pytest.raises(InvalidInput):
        nfs.from_instance(instance)


def test_the_settings_that_keep_data_and_locks_through_a_failover() -> None:
    text = nfs.ganesha_config(nfs.new_volume("vol1", "/shared"), "10.78.0.101")
    found = settings(text)
    assert found["Bind_addr"] == "10.78.0.101"
    assert found["Clustered"] == "true"
    assert found["RecoveryBackend"] == "fs_ng"
    assert found["RecoveryRoot"] == "/shared/nfs/vol1/recovery"
    assert (found["Server_Scope"], found["Server_Owner"]) == ("vol1", "vol1")
    assert found["Minor_Versions"] == "1, 2"
    assert (found["Enable_NLM"], found["Enable_RQUOTA"], found["Enable_UDP"]) == ("false", "false", "false")
    assert int(found["Grace_Period"]) >= 2 * int(found["Lease_Lifetime"])
    assert found["Pseudo"] == "/vol1"
    assert text.count("{") == text.count("}")


def test_no_access_without_a_rule_and_rules_in_order() -> None:
    rules = (
        AccessRule("10.0.0.5", "none"),
        AccessRule("10.0.0.0/8", "ro", "all"),
        AccessRule("fd77::/64", "rw", "none"),
    )
    text = nfs.ganesha_config(nfs.new_volume("v", "/s", access=rules), "fd78::101")
    assert "SecType = sys; Access_Type = None;" in text
    clients = re.findall(r"CLIENT \{ Clients = (\S+); .*Access_Type = (\w+); Squash = (\w+);", text)
    assert clients == [
        ("10.0.0.5", "None", "Root_Squash"),
        ("10.0.0.0/8", "RO", "All_Squash"),
        ("fd77::/64", "RW", "No_Root_Squash"),
        ("fd78::101", "RO", "Root_Squash"),  # the volume's own node, for its health probe
    ]


@pytest.mark.parametrize(
    "clients", ["", "10.0.0.0/33", "300.1.1.1", "a b", "x; } EXPORT {", "10.0.0.0/8; Access_Type = RW", "@"]
)
def test_clients_that_are_refused(clients: str) -> None:
    with pytest.raises(InvalidInput):
        nfs.check_rule(AccessRule(clients))


def test_rules_as_people_write_them() -> None:
    assert nfs.parse_rule("*") == AccessRule("*", "rw", "root")
    assert nfs.parse_rule("10.0.0.0/8, ro, all_squash") == AccessRule("10.0.0.0/8", "ro", "all")
    assert nfs.parse_rule("backup.example.org,rw,no_root_squash").squash == "none"
    with pytest.raises(InvalidInput, match="'rx'"):
        nfs.parse_rule("*,rx")


@pytest.mark.parametrize(
    ("text", "size"), [("1MiB", 1 << 20), ("10G", 10 << 30), ("10 GiB", 10 << 30), ("1.5tib", 3 << 39), ("4096", 4096)]
)
def test_sizes(text: str, size: int) -> None:
    assert nfs.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "1X", "1e3", "ten"])
def test_sizes_that_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="size"):
        nfs.parse_size(text)


def test_who_is_let_in() -> None:
    volume = nfs.new_volume("v", "/s", access=(AccessRule("10.0.0.5", "none"), AccessRule("10.0.0.0/8")))
    assert nfs.allows(volume, "10.0.0.5") is False
    assert nfs.allows(volume, "10.9.9.9") is True
    assert nfs.allows(volume, "192.0.2.1") is False
    assert nfs.allows(volume, "fd77::1") is False
    assert nfs.allows(nfs.new_volume("v", "/s", access=(AccessRule("some.host"),)), "10.0.0.1") is None


def test_the_instance_survives_the_store() -> None:
    volume = nfs.new_volume("vol1", "/shared/", access=(AccessRule("10.0.0.0/8", "ro"),), size=10 << 30)
    instance = nfs.instance_spec(volume, ADDRESS, ["n1", "n2"], priority=700)
    assert (instance.id, instance.kind, instance.exclusivity, instance.role) == (
        "nfs/vol1",
        "nfs",
        Exclusivity.STRICT,
        Role.STORAGE,
    )
    assert instance.priority == 700
    assert nfs.from_instance(decode(encode(instance), type(instance))) == volume


def test_an_incomplete_instance_is_named() -> None:
    instance = nfs.instance_spec(nfs.new_volume("vol1", "/shared"), ADDRESS)
    del instance.config["access"]
    with pytest.raises(InvalidInput, match="nfs/vol1"):
        nfs.from_instance(instance)
