"""Bad input on a real cluster: each refusal is short, says what to do, and leaves every specification as it was."""

import base64
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from cluster_talk import NFS_FIRST, PANEL, VOLUME, Cluster
from management_talk import CA, bring_ca, verified

from holdfast.lab.bringup import fence_device

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

CLIENT_MANAGEMENT, CLIENT_PUBLIC = "10.77.0.200", "10.78.0.200"
"""Somebody else's addresses on the cluster's networks."""
READ_SPECS = (
    "ETCDCTL_API=3 etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/holdfast/pki/ca.crt "
    "--cert=/etc/holdfast/pki/node.crt --key=/etc/holdfast/pki/node.key get /holdfast/spec/ --prefix -w json"
)
SERIAL = "/holdfast/spec/serial"

LOCKED = re.compile(r'"[^"]*gAAAA[^"]*"')
"""A Fernet token begins so."""

Specs = dict[str, tuple[str, int]]


def specs(cluster: Cluster) -> Specs:
    """Key → (value, revision) of all specifications, read past Holdfast from the store itself."""
    found = json.loads(cluster.lab.exec("n1", ["sh", "-c", READ_SPECS], check=True).stdout)
    return {base64.b64decode(kv["key"]).decode(): (kv["value"], kv["mod_revision"]) for kv in found["kvs"]}


def values(found: Specs) -> dict[str, str]:
    """What the specifications say, whoever wrote them when. A secret is locked anew each time, so it is left out."""
    texts = {key: base64.b64decode(value).decode() for key, (value, _revision) in found.items() if key != SERIAL}
    return {key: LOCKED.sub('""', text) for key, text in texts.items()}


@contextmanager
def unchanged(cluster: Cluster) -> Iterator[None]:
    """Nothing is committed, not even the same again."""
    before = specs(cluster)
    yield
    assert specs(cluster) == before


@pytest.fixture(scope="module")
def cluster(watched: Cluster) -> Cluster:
    watched.until(lambda: watched.where(VOLUME) and watched.where("panel/admin"), "everything runs")
    return watched


def refusal(cluster: Cluster, *words: str, host: str = "n1", stdin: str = "") -> str:
    """The two lines at most that a refused command says on standard error."""
    done = cluster.ask(host, *words, stdin=stdin)
    said = f"holdfast {' '.join(words)}: {done.returncode} {done.stdout} {done.stderr}"
    assert done.returncode == 1, said
    lines = done.stderr.strip().splitlines()
    assert 1 <= len(lines) <= 2, said
    assert lines[0].startswith("Error: "), said
    assert done.stdout == "", said
    return " ".join(lines)


WRONG = [
    # nodes
    ("node show n9", "node `n9` does not exist. Known: n1, n2, n3, n4."),
    ("node remove n4", "node `n4` is up. Shut it down first"),
    ("node remove n1", "`n1` is a management node. Replace it first with `holdfast ha update"),
    ("node confirm-dead n4 --yes", "node `n4` is up. Nothing is wrong with it."),
    ("node add n4 --address management=10.77.0.15 --bundle -", "node `n4` exists already"),
    ("node add n5 --address public=10.78.0.15 --bundle -", "has no address on the management network"),
    ("node add n5 --address management=10.78.0.15 --bundle -", "10.78.0.15 is not inside network 'management'"),
    ("node add n5 --address management=10.77.0.14 --bundle -", "already used by node `n4`"),
    (f"node add n5 --address management={PANEL} --bundle -", "already used by the admin panel (virtual IP)"),
    ("node add n5 --address management=10.77.0.15 --roles boss --bundle -", "there is no role `boss`. Choose from"),
    ("node add ../n5 --address management=10.77.0.15", "'../n5' is not a node id"),
    ("node fence set n4 --device bmc,redfisch,url=x", "no fence device type `redfisch`. Choose from redfish"),
    ("node fence set n4 --device bmc,redfish,urll=https://x", "unknown option `urll`. Did you mean `url`?"),
    ("node fence set n4 --device bmc,fence-agent,agent=fence_x", "no fence agent fence_x on this node. Install"),
    # volumes
    ("nfs create vol1", "a volume `vol1` exists already. Choose another name."),
    ("nfs create ../../etc", "'../../etc' cannot be the name of a volume. Use 1 to 48"),
    ("nfs create a/b", "cannot be the name of a volume"),
    ("nfs create ..", "cannot be the name of a volume"),
    ("nfs delete ../vol1 --force", "`../vol1` cannot be a name"),
    ("nfs delete nope", "volume `nope` does not exist. Known: vol1."),
    ("nfs create v2 --size 10XB", "'10XB' is not a size. Write it like 10GiB"),
    ("nfs create v2 --access 10.0.0.0/33", "'10.0.0.0/33' is not a client. Use an address"),
    ("nfs create v2 --address 10.78.0.11", "10.78.0.11 is already used by node `n1`"),
    (f"nfs create v2 --address {NFS_FIRST}", "already used by `nfs/vol1`. Choose another address."),
    (f"nfs create v2 --address {CLIENT_PUBLIC}", "answered on the network `public` by the machine 02:77:01:00:00:c8"),
    (f"nfs create v2 --address {PANEL}", "is not inside network 'public' (10.78.0.0/24"),
    ("nfs create v2 --address fd79::101", "fd79::101 is not inside network 'public'"),
    ("nfs create v2 --address 10.78.0.120/24", "is not an IP address. Write the address alone"),
    ("nfs create-cluster --nodes n1,n2 --addresses 10.78.0.160", "the NFS cluster exists already"),
    # services
    ("service move nfs/vol1 --to n9", "node `n9` does not exist"),
    ("service move panel/admin --to n4", "`n4` has not the role `management`, which `panel/admin` needs"),
    ("service move nfs/nope", "instance `nfs/nope` does not exist. Did you mean `nfs/vol1`?"),
    ("service stop nfs/nope", "service `nfs/nope` does not exist"),
    ("service stop panel/admin", "the admin panel cannot be stopped"),
    ("service start vol1", "`vol1` is not a service. Write KIND/NAME"),
    # management
    (f"ha enable --virtual-ip {PANEL} --nodes n1,n2,n3", "already enabled on n1, n2, n3. Change it with"),
    ("ha update --nodes n1,n2", "needs 3 or 5 nodes, not 2"),
    ("ha update --nodes n1,n2,n9", "node `n9` does not exist"),
    ("ha update --nodes n1,n2,n2", "node `n2` is named twice"),
    ("ha update --virtual-ip 10.77.0.11", "10.77.0.11 is already used by node `n1`"),
    (f"ha update --virtual-ip {CLIENT_MANAGEMENT}", "answered on the network `management` by the machine"),
    (f"ha update --virtual-ip {NFS_FIRST}", "is not inside network 'management'"),
    ("ha update --virtual-ip fd78::99", "fd78::99 is not inside network 'management' (10.77.0.0/24, fd77::/64)"),
    ("ha disable --keep n4", "node `n4` is not a management node. Keep one of n1, n2, n3."),
    # this machine
    ("node join /nonexistent", "/nonexistent cannot be read: No such file"),
    ("node join /etc/hostname", "not a usable join bundle"),
    ("--url http://10.77.0.100 status", "Write it like https://10.77.0.100:8443"),
    ("password admin --password-file /nonexistent", "/nonexistent cannot be read"),
]


def test_what_is_wrong_is_refused_in_two_lines_and_nothing_is_committed(cluster: Cluster) -> None:
    cluster.wait_up(*cluster.lab.nodes)  # the last test's victim may be joining still, and its API begins after that
    cluster.until(lambda: cluster.ask("n1", "status").returncode == 0, "the API of n1 answers")
    with unchanged(cluster), ThreadPoolExecutor(2) as pool:
        said = list(pool.map(lambda words: refusal(cluster, *words.split()), [words for words, _ in WRONG]))
    assert {words: told for (words, want), told in zip(WRONG, said, strict=True) if want not in told} == {}


def test_a_second_cluster_on_a_member_is_refused(cluster: Cluster) -> None:
    words = "cluster create again --node n1 --network management=10.77.0.0/24 --address management=10.77.0.11"
    with unchanged(cluster):
        said = refusal(cluster, *words.split(), "--password-file", "-", stdin="four random words\n")
    assert "this node belongs to a cluster already" in said


def test_a_short_password_and_an_unknown_account_are_refused(cluster: Cluster) -> None:
    assert "needs at least 10" in refusal(cluster, "password", "admin", "--password-file", "-", stdin="short\n")
    assert "user `nobody` does not exist" in refusal(
        cluster, "password", "nobody", "--password-file", "-", stdin="four random words\n"
    )


def test_logging_in_from_outside(cluster: Cluster) -> None:
    """The client host trusts nothing of the cluster before it is given the CA."""
    bring_ca(cluster)
    cluster.until(lambda: verified(cluster, PANEL).startswith("200 "), "the panel's certificate names its address")
    url = f"https://{PANEL}:8443"
    login = ("login", "--password-file", "-")
    lab = cluster.lab
    assert "belongs to no cluster" in refusal(cluster, "status", host="client")
    untrusted = refusal(cluster, "--url", url, *login, host="client", stdin=f"{lab.password}\n")
    assert "is not trusted" in untrusted
    assert "--ca" in untrusted
    wrong = refusal(cluster, "--url", url, "--ca", CA, *login, host="client", stdin="not the password\n")
    assert wrong.startswith("Error: wrong name or password. ")
    assert "you are not logged in" in refusal(cluster, "--url", url, "--ca", CA, "status", host="client")
    done = cluster.ask("client", "--url", url, "--ca", CA, *login, stdin=f"{lab.password}\n")
    assert done.returncode == 0, done.stderr
    assert "vol1" in cluster.do("nfs", "list", node="client")
    cluster.do("logout", node="client")
    assert "belongs to no cluster" in refusal(cluster, "status", host="client")


def fence_tested(cluster: Cluster, node: str) -> tuple[bool, str]:
    """(all devices work, what the command says)"""
    done = cluster.ask("n1", "node", "fence", "test", node, "--json")
    assert done.stderr == ""
    results = json.loads(done.stdout)
    assert done.returncode == (0 if all(r["ok"] for r in results) else 1)
    return done.returncode == 0, " ".join(f"{r['text']}. {r['advice']}" for r in results)


def test_a_fence_device_that_would_not_work_is_found_by_testing_it(cluster: Cluster) -> None:
    lab, right = cluster.lab, fence_device(cluster.lab, "n4")
    assert fence_tested(cluster, "n4")[0]
    before = values(specs(cluster))
    lab.fail("n4", "bmc", mode="unreachable")
    try:
        with unchanged(cluster):
            works, said = fence_tested(cluster, "n4")
        assert (works, "10.79.0.104 is unreachable" in said, "Check that the BMC has power" in said) == (
            False,
            True,
            True,
        )
    finally:
        lab.heal("n4")
    wrong = {
        "refuses user `admin`": right.replace("password=", "password=not-"),
        "certificate that is not trusted": right.replace("/n4.crt", "/n3.crt"),
        "cannot be used": right.replace("/n4.crt", "/n44.crt"),
        "is unreachable": right.replace("10.79.0.104", "10.79.0.199"),
    }
    try:
        for words, device in wrong.items():
            cluster.do("node", "fence", "set", "n4", "--device", device, node="n1")
            works, said = fence_tested(cluster, "n4")
            assert (works, words in said) == (False, True), said
    finally:
        cluster.do("node", "fence", "set", "n4", "--device", right, node="n1")
    assert fence_tested(cluster, "n4")[0]
    assert values(specs(cluster)) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("s/^state_dir/state_dirr/", "unknown key `state_dirr`. Did you mean `state_dir`?"),
        ("s/10.77.0.14/10.77.0.514/", "addresses.management = '10.77.0.514' is not an IP address"),
        ("s/^id =/id /", "is not valid TOML"),
    ],
)
def test_a_typo_in_node_toml_is_said_by_every_daemon(cluster: Cluster, change: str, said: str) -> None:
    cluster.lab.exec("n4", ["sh", "-c", f"sed '{change}' /etc/holdfast/node.toml > /tmp/typo.toml"], check=True)
    for daemon in ("holdfast-agent", "holdfast-guard", "holdfast-manager", "holdfast-panel"):
        done = cluster.lab.exec("n4", [daemon, "--config", "/tmp/typo.toml"], 30)
        words = done.stdout + done.stderr
        assert done.returncode in (1, 2), words
        assert said in words
        assert "/tmp/typo.toml" in words
        assert len(words.strip().splitlines()) == 1, words


def test_a_bundle_joins_one_machine_once(cluster: Cluster) -> None:
    """The client host plays the new machine: nothing of Holdfast runs there, so it joins in its files only."""
    lab = cluster.lab
    before = values(specs(cluster))
    cluster.do("node", "add", "n5", "--address", "management=10.77.0.15", "--bundle", "/root/n5.bundle", node="n1")
    try:
        bundle = lab.exec("n1", ["base64", "/root/n5.bundle"], check=True).stdout
        again = refusal(
            cluster, "node", "add", "n5", "--address", "management=10.77.0.15", "--bundle", "/root/n5.bundle"
        )
        assert "cannot be written to /root/n5.bundle: File exists" in again
        assert "this node belongs to a cluster already" in refusal(cluster, "node", "join", "/root/n5.bundle")
        lab.exec("client", ["sh", "-c", "base64 -d > /root/n5.bundle"], stdin=bundle, check=True)
        for damage in ("head -c 1000", "tail -c 1000", "tr a-m n-z"):
            lab.exec("client", ["sh", "-c", f"{damage} < /root/n5.bundle > /root/damaged"], check=True)
            said = refusal(cluster, "node", "join", "/root/damaged", host="client")
            assert "not a usable join bundle" in said
            assert "holdfast node add" in said
        unknown = refusal(cluster, "node", "join", "/root/n5.bundle", "--set", "watchdg=/dev/x", host="client")
        assert "Did you mean `watchdog`?" in unknown
        assert lab.exec("client", ["ls", "/etc/holdfast"]).returncode != 0, "nothing was written by all these"
        cluster.do("node", "join", "/root/n5.bundle", node="client")
        joined = lab.exec("client", ["sha256sum", "/etc/holdfast/node.toml", "/etc/holdfast/pki/node.key"]).stdout
        assert "belongs to a cluster already" in refusal(cluster, "node", "join", "/root/n5.bundle", host="client")
        assert (
            lab.exec("client", ["sha256sum", "/etc/holdfast/node.toml", "/etc/holdfast/pki/node.key"]).stdout == joined
        )
    finally:
        lab.exec("client", ["sh", "-c", "rm -rf /etc/holdfast /root/n5.bundle /root/damaged"])
        cluster.do("node", "remove", "n5", node="n1")
        lab.exec("n1", ["rm", "-f", "/root/n5.bundle"])
    assert values(specs(cluster)) == before
