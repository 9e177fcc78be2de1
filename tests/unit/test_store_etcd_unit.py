"""How a member of the store is started, and which versions are warned about."""

import subprocess

import pytest

from holdfast.config import NodeConfig
from holdfast.ports import Unit
from holdfast.store.etcd import EtcdMember, etcd_unit, version_warning

CONFIG = NodeConfig(id="n1", cluster="lab", addresses={"management": "10.77.0.11"}, endpoints=())
MEMBERS = (("n1", "https://10.77.0.11:2380"), ("n2", "https://10.77.0.12:2380"))


def unit(peer: str = "https://10.77.0.11:2380", client: str = "https://10.77.0.11:2379", *, new: bool = True) -> Unit:
    return etcd_unit(CONFIG, EtcdMember("n1", peer, client, MEMBERS, new))


def test_a_member_listens_on_its_own_address_and_loopback_with_mutual_tls() -> None:
    made = unit()
    assert (made.name, made.strict, made.argv[0]) == ("etcd", False, "/usr/bin/etcd")
    for flag in (
        "--listen-client-urls=https://10.77.0.11:2379,https://127.0.0.1:2379",
        "--advertise-client-urls=https://10.77.0.11:2379",
        "--client-cert-auth=true",
        "--peer-client-cert-auth=true",
        "--initial-cluster=n1=https://10.77.0.11:2380,n2=https://10.77.0.12:2380",
        "--initial-cluster-state=new",
        "--data-dir=/var/lib/holdfast/etcd",
    ):
        assert flag in made.argv
    assert made.env["HTTPS_PROXY"] == ""
    assert "--initial-cluster-state=existing" in unit(new=False).argv


def test_ipv6_and_plain_members() -> None:
    assert (
        "--listen-client-urls=https://[fd77::11]:2379,https://127.0.0.1:2379"
        in unit(client="https://[fd77::11]:2379").argv
    )
    plain = unit("http://127.0.0.1:2380", "http://127.0.0.1:2379").argv
    assert "--listen-client-urls=http://127.0.0.1:2379" in plain
    assert not any("cert" in flag for flag in plain)


def test_the_installed_etcd_knows_every_flag() -> None:
    text = subprocess.run(["etcd", "--help"], capture_output=True, text=True, timeout=30, check=True).stdout
    unknown = [flag for flag in unit().argv[1:] if f"  {flag.split('=')[0]} " not in text]
    assert unknown == []


@pytest.mark.parametrize(
    ("version", "warned"),
    [
        ("3.4.23", True),
        ("3.5.27", True),
        ("3.5.28", False),
        ("3.6.8", True),
        ("v3.6.9", False),
        ("3.7.0", False),
        ("4.0.0", False),
        ("3.5.30-rc.1", False),
        ("unknown", True),
    ],
)
def test_old_versions_are_warned_about_with_the_reason(version: str, warned: bool) -> None:
    text = version_warning(version)
    assert bool(text) == warned
    assert not warned or ("or newer" in text and version in text)
