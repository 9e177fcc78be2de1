"""Services of all kinds as services of systemd: each starts, answers a client, outlives a crash of the agent as the same
process, has the rights that are written down (core/rights.py) and no others, and stops."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from own_systemd import own_systemd, possible
from systemd_node import SHARED, SystemdNode

from holdfast.core import rights
from holdfast.core.rights import Rights
from holdfast.groups import service_name
from holdfast.lab.guest.image import VM, VM_COMMAND_LINE, build
from holdfast.services.iscsi.report import directory
from holdfast.services.iscsi.tgt import UNIT
from holdfast.services.vm.libvirtd import LOCK_UNIT
from holdfast.services.vm.libvirtd import UNIT as UNIT_LIBVIRTD

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(600)]

TESTS = Path(__file__).parents[1]
NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD"
)
"""In the order of linux/capability.h."""
NUMBERS = {name: number for number, name in enumerate(NAMES.split())}


def mask(names: tuple[str, ...]) -> int:
    return sum(1 << NUMBERS[name.removeprefix("CAP_")] for name in names)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemdNode]:
    if not possible():
        pytest.skip("needs root and systemd")
    place = tmp_path_factory.mktemp("services")
    shared = place / "shared"
    shared.mkdir(mode=0o755)
    (shared / "backup").mkdir()
    with own_systemd(place / "log") as made:
        one = SystemdNode(made)
        one.begin(shared)
        one.do("node", "add", "n2", "--address", "management=10.77.0.12", "--address", "public=10.78.0.12", "--token")
        yield one


def serves(node: SystemdNode, prefix: str) -> None:
    def all_healthy() -> bool:
        found = [well for name, well in node.healthy().items() if name.startswith(prefix)]
        return bool(found) and all(found)

    node.until(all_healthy, f"{prefix} is healthy")


def machine(node: SystemdNode) -> int:
    """What anybody may have on this machine: where tests run in a container, root has not all of it."""
    return int(node.rights_of(1)["CapBnd"], 16)


def check(node: SystemdNode, pid: int, wanted: Rights, *, uid: str = "0", effective: int | None = None) -> None:
    """The kernel's word about a process against what is written down."""
    said = node.rights_of(pid)
    bounding = mask(wanted.capabilities or ()) & machine(node)
    if wanted.user:
        uid = node.must("id", "-u", wanted.user).strip()
    print(said["Name"], pid, {name: said[name] for name in ("Uid", "Gid", "Groups", "CapEff", "CapBnd", "NoNewPrivs")})
    assert said["Uid"].split() == [uid] * 4, said
    assert int(said["CapBnd"], 16) == bounding, said
    assert int(said["CapEff"], 16) == (bounding if effective is None else effective), said
    assert said["NoNewPrivs"] == str(int(wanted.no_new_privileges)), said


def outlives_and_stops(
    node: SystemdNode, services: list[str], delete: tuple[str, ...], prefix: str, *, stays: bool = False
) -> None:
    """`stays`: the process serves others too."""
    serves(node, prefix)
    before = {name: node.main_pid(name) for name in services}
    assert all(before.values()), before
    node.crash_agent()
    serves(node, prefix)
    assert {name: node.main_pid(name) for name in services} == before
    node.do(*delete)
    node.until(lambda: not any(name.startswith(prefix) for name in node.healthy()), f"{prefix} is gone")
    if not stays:
        node.until(lambda: not any(map(node.main_pid, services)), f"{prefix} has stopped")


def test_the_nodes_own_daemons(node: SystemdNode) -> None:
    for name, wanted in (("etcd", rights.ETCD), ("manager", rights.MANAGER), ("panel", rights.PANEL)):
        node.until(lambda name=name: bool(node.main_pid(service_name(name))), f"{name} runs")  # type: ignore[misc]
        check(node, node.main_pid(service_name(name)), wanted)
    agent = node.rights_of(node.main_pid("holdfast-agent.service"))
    assert int(agent["CapBnd"], 16) == mask(rights.AGENT) & machine(node), agent
    owner = node.must("stat", "-c", "%U:%G %a", "/var/lib/holdfast/etcd", "/etc/holdfast/pki/node.key").splitlines()
    assert owner == ["holdfast-etcd:holdfast-etcd 700", "root:holdfast 640"]


def test_the_store_reads_a_renewed_key(node: SystemdNode) -> None:
    key = "/etc/holdfast/pki/node.key"
    before = node.must("sha256sum", key)
    node.do("cluster", "rotate-certificates")
    node.until(lambda: node.must("sha256sum", key) != before, "the key is another")
    assert node.must("stat", "-c", "%U:%G %a", key).strip() == "root:holdfast 640"
    etcd = node.main_pid(service_name("etcd"))
    node.crash_agent()  # its successor opens connections of its own
    assert node.main_pid(service_name("etcd")) == etcd


def test_nfs(node: SystemdNode) -> None:
    node.do("nfs", "create-cluster", "--nodes", "n1,n2", "--addresses", "10.78.0.101-10.78.0.103")
    node.do("nfs", "create", "vol1", "--access", "10.78.0.0/24,rw,no_root_squash", "--no-wait")
    serves(node, "nfs/vol1")
    service = service_name("nfs/vol1")
    check(node, node.main_pid(service), rights.NFS)
    client = (sys.executable, "-m", "holdfast.services.nfs.journal", "--host", "10.78.0.101", "--volume", "vol1")
    said = json.loads(node.must(*client, "--file", "j", "--out", "/run/j", "--for", "1").splitlines()[-1])
    print(said)
    outlives_and_stops(node, [service], ("nfs", "delete", "vol1", "--force"), "nfs/vol1")


def test_iscsi(node: SystemdNode) -> None:
    reports = Path(directory(SHARED))
    mine = reports / "n1.json"
    node.until(lambda: node.systemd.run(["test", "-e", str(mine)]).returncode == 0, "n1 says what it can run")
    node.must("sh", "-c", 'sed s/n1/n2/g "$0" >"$1"', str(mine), str(reports / "n2.json"))
    node.do("iscsi", "target-group", "create", "disks", "--nodes", "n1,n2", "--initiator", "iqn.2026-01.com.example:c")
    node.do("iscsi", "volume", "create", "disk1", "--size", "64MiB")
    node.do("iscsi", "volume", "attach", "disk1", "disks", "--no-wait")
    serves(node, "iscsi/")  # a SCSI read through the path
    service = service_name(UNIT)
    check(node, node.main_pid(service), rights.ISCSI)
    outlives_and_stops(node, [service], ("iscsi", "volume", "detach", "disk1"), "iscsi/", stays=True)


def backup_gateway(node: SystemdNode, wanted: Rights, address: str, *backend: str) -> None:
    """With restic as its client."""
    create = ("backup", "create-cluster", "vault", "--nodes", "n1", "--domain", "backup.lab.test")
    node.do(*create, "--addresses", f"{address}-{address}", *backend)
    serves(node, "backup/vault")
    service = service_name("backup/vault/gw-n1")
    check(node, node.main_pid(service), wanted)
    made = json.loads(node.do("backup", "user", "create", "vault", "alice", "--json"))["data"]
    told = json.loads(node.do("backup", "client-config", "vault", "alice", "--json"))
    node.must(
        "sh",
        "-c",
        f'echo "{address} backup.lab.test" >/etc/hosts; echo "$1" >/etc/ca; echo x >/etc/pw',
        "sh",
        told["ca"],
    )
    url = f"rest:https://alice:{made['password']}@backup.lab.test:8000/alice/one"
    restic = ("restic", "--cacert", "/etc/ca", "--repo", url, "--password-file", "/etc/pw", "--no-cache")
    for words in (("init",), ("backup", "/etc/debian_version"), ("check", "--read-data")):
        print(node.must(*restic, *words)[-200:])
    outlives_and_stops(node, [service], ("backup", "delete", "vault", "--yes"), "backup/vault")


def test_s3_and_a_backup_gateway_on_it(node: SystemdNode) -> None:
    words = ("--nodes", "n1", "--domain", "s3.lab.test", "--name-servers", "1", "--object-servers", "1", "--force")
    addresses = ("--gateway-addresses", "10.78.0.151-10.78.0.151", "--server-addresses", "10.77.0.151-10.77.0.152")
    node.do("s3", "create-cluster", "main", *words, *addresses)
    serves(node, "s3/main")
    made = json.loads(node.do("s3", "user", "create", "main", "alice", "--json"))["data"]
    node.must("sh", "-c", 'echo "$1 $2" >/etc/s3-keys', "sh", made["access_key"], made["secret_key"])
    ask = (sys.executable, str(TESTS / "s3_ask.py"))
    for method, path in (("PUT", "/bucket"), ("PUT", "/bucket/object"), ("GET", "/bucket/object")):
        body = "printf data" if path.count("/") == 2 else "true"
        words = ("sh", "-c", f'{body} | "$@"', "sh", *ask, method, f"http://10.78.0.151{path}", "/etc/s3-keys")
        node.until(lambda words=words: node.must(*words).startswith("200"), f"{method} {path}")  # type: ignore[misc]
    services = [
        service_name(name) for name in node.healthy() if name.startswith("s3/main") and not name.endswith("/bg")
    ]
    for service in services:
        check(node, node.main_pid(service), rights.S3, uid=str(rights.SHARED_UID), effective=0)
    stored = node.must("find", f"{SHARED}/s3/main", "-type", "f", "-name", "*.data", "-printf", "%U\n").split()
    assert set(stored) == {str(rights.SHARED_UID)}
    keys = f"access_key={made['access_key']}\nsecret_key={made['secret_key']}\n"
    node.must("sh", "-c", 'umask 077; printf %s "$1" >/etc/backend-keys', "sh", keys)
    where = ("--backend", "s3:http://10.78.0.151/bucket/backup", "--credentials-file", "/etc/backend-keys")
    backup_gateway(node, rights.BACKUP, "10.78.0.172", *where)
    outlives_and_stops(node, services, ("s3", "delete", "main", "--yes"), "s3/main")
    denied = node.systemd.run(["sh", "-c", "grep -hE 'Permission|not permitted' /var/log/holdfast/s3*.log"]).stdout
    assert denied == ""


def test_backup_gateway_on_the_shared_storage(node: SystemdNode) -> None:
    backup_gateway(node, rights.BACKUP_FILES, "10.78.0.171", "--backend", f"local:{SHARED}/backup")


def test_virtual_machine(node: SystemdNode) -> None:
    """The unit is QEMU alone once it runs; its rights are what libvirtd gave it: none."""
    image = build(recipe=VM)
    node.must("cp", str(image.kernel), f"{SHARED}/kernel")
    node.must("cp", str(image.initrd), f"{SHARED}/initrd")
    node.must("truncate", "-s", "4M", f"{SHARED}/web.raw")
    node.do("compute", "create-cluster", "--nodes", "n1,n2", "--tolerate", "0", "--bridge", "public=br-public")
    line = f"{VM_COMMAND_LINE} hvm.name=web hvm.ip=10.78.0.20/24 hvm.period_ms=400"
    boot = ("--kernel", f"{SHARED}/kernel", "--initrd", f"{SHARED}/initrd", "--cmdline", line)
    size = ("--cpu", "0.25", "--memory", "128MiB", "--disk", f"{SHARED}/web.raw", "--network", "public")
    node.do("vm", "create", "web", *size, *boot, "--heartbeat", "port", "--hang-after", "60", "--force", "--no-wait")
    serves(node, "vm/web")
    for name, wanted in ((UNIT_LIBVIRTD, rights.LIBVIRTD), (LOCK_UNIT, rights.VIRTLOCKD)):
        check(node, node.main_pid(service_name(name)), wanted)
    group = "/sys/fs/cgroup/holdfast.slice/holdfast-strict.slice/" + service_name("vm/web") + "/cgroup.procs"
    (qemu,) = node.must("cat", group).split()
    said = node.rights_of(int(qemu))
    print({name: said[name] for name in ("Name", "Uid", "Groups", "CapEff", "CapBnd", "NoNewPrivs")})
    assert said["Name"].startswith("qemu")
    check(node, int(qemu), rights.QEMU)

    def answers() -> bool:
        asked = "import urllib.request; urllib.request.urlopen('http://10.78.0.20/', timeout=2).read()"
        return node.systemd.run([sys.executable, "-c", asked]).returncode == 0

    node.until(answers, "the guest answers")
    node.crash_agent()
    serves(node, "vm/web")
    assert node.must("cat", group).split() == [qemu]
    node.until(answers, "the guest still answers")
    node.do("vm", "delete", "web", "--force")
    node.until(lambda: node.systemd.run(["test", "-e", f"/proc/{qemu}"]).returncode != 0, "QEMU has ended")
