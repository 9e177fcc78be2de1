"""The commands for the compute cluster, virtual machines, rules, states and locks, against a served cluster."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from api_world import place
from cli_world import Cluster, served
from vm_world import FakeImages, with_room

from holdfast.core.model import InstanceSpec
from holdfast.store import codec, keys

IMAGE = "/shared/images/debian.qcow2"
XML = """<domain type='kvm'><name>old</name><memory unit='MiB'>256</memory><vcpu>1</vcpu><os><type>hvm</type></os>
<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/shared/old.qcow2'/>
<target dev='vda'/></disk></devices></domain>"""


@pytest.fixture
def images() -> FakeImages:
    return FakeImages()


@pytest.fixture
def cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], images: FakeImages
) -> Iterator[Cluster]:
    with served(tmp_path, monkeypatch, capsys, images=images, log_dir=tmp_path) as made:
        made.do(with_room(made.context.store))
        made.managed.set()
        yield made


def prepare(cluster: Cluster) -> None:
    done = cluster.run("compute", "create-cluster", "--nodes", "n1,n2,n3", "--reserve-memory", "0")
    assert done.status == 0, done.err


def spec(cluster: Cluster, name: str) -> InstanceSpec:
    entry = cluster.do(cluster.context.store.get(keys.instance(f"vm/{name}")))
    assert entry is not None
    return codec.decode(entry.value, InstanceSpec)


def test_the_compute_cluster(cluster: Cluster) -> None:
    assert "no compute cluster yet" in cluster.run("compute", "status").out
    assert "no compute cluster yet" in cluster.run("vm", "list").out
    assert "no compute cluster yet" in cluster.run("vm", "create", "web", "--disk", IMAGE).err
    made = cluster.run(
        "compute",
        "create-cluster",
        "--nodes",
        "n1,n2",
        "--nodes",
        "n3",
        "--reserve-memory",
        "1GiB",
        "--reserve-cpu",
        "1",
    )
    assert (made.status, "Compute cluster on n1, n2, n3" in made.out) == (0, True)
    shown = cluster.run("compute", "status").out
    assert all(word in shown for word in ("Tolerates", "1 failed node", "1 cores and 1024 MiB", "3072"))
    assert "wait for that" not in cluster.run("compute", "ha", "disable").err
    assert "OFF" in cluster.run("compute", "status").out
    assert cluster.run("compute", "ha", "enable").status == 0
    assert "tolerate 0" in cluster.run("compute", "set", "--tolerate", "0", "--bridge", "public=br1").out
    assert cluster.run("compute", "status", "--json").json["cluster"]["tolerate"] == 0
    assert "nothing to change" in cluster.run("compute", "set").err


def test_a_machine_from_its_creation_to_its_end(cluster: Cluster, images: FakeImages) -> None:
    prepare(cluster)
    made = cluster.run(
        "vm", "create", "web", "--cpu", "0.5", "--memory", "512", "--disk", IMAGE, "--disk-size", "1GiB",
        "--network", "public", "--priority", "900", "--heartbeat", "port", "--hang-after", "30", "--json",
    )  # fmt: skip
    assert made.status == 0, made.err
    assert made.json["data"]["disks"] == [IMAGE, "/shared/vm/web/disk1.qcow2"]
    listed = cluster.run("vm", "list").out
    assert all(word in listed for word in ("web", "running", "512", "900"))
    shown = cluster.run("vm", "show", "web").out
    assert all(word in shown for word in ("0.5 cores, 512 MiB", "port; reset after 30 s", "br0", IMAGE))
    assert "is not stopped" in cluster.run("vm", "set", "web", "--memory", "1GiB").err
    assert cluster.run("vm", "set", "web", "--no-ha", "--preemptible", "--on-power-off", "restart").status == 0
    assert (spec(cluster, "web").ha, spec(cluster, "web").preemptible) == (False, True)
    assert "moves from n1 to n2" in cluster.run("vm", "migrate", "web", "--to", "n2").out
    assert cluster.run("vm", "stop", "web").status == 0
    assert cluster.run("vm", "set", "web", "--memory", "1GiB").status == 0
    assert cluster.run("vm", "start", "web").status == 0
    assert "--no-wait" in cluster.run("vm", "delete", "web", "--delete-disks", "--no-wait").err
    assert "--force" in cluster.run("vm", "delete", "web").err
    gone = cluster.run("vm", "delete", "web", "--force", "--delete-disks")
    assert (gone.status, "disks are deleted" in gone.out) == (0, True)
    assert set(images.files) == {"/root/own.raw"}


def test_a_copy_is_followed_and_its_failure_told(cluster: Cluster, images: FakeImages) -> None:
    prepare(cluster)
    made = cluster.run("vm", "create", "web", "--memory", "512", "--disk", "/root/own.raw", "--copy")
    assert (made.status, "/shared/vm/web/disk0.qcow2" in images.files) == (0, True), made.err
    images.full = True
    failed = cluster.run("vm", "create", "b", "--memory", "512", "--disk", IMAGE, "--copy")
    assert (failed.status, "no space left" in failed.err) == (1, True)
    refused = cluster.run("vm", "create", "c", "--disk", IMAGE, "--copy", "--memory", "1")
    assert "1 MiB of memory" in refused.err


def test_an_import(cluster: Cluster, images: FakeImages, tmp_path: Path) -> None:
    prepare(cluster)
    file = tmp_path / "old.xml"
    assert "cannot be read" in cluster.run("vm", "import", str(file)).err
    file.write_text(XML)
    assert "is no file below /shared" in cluster.run("vm", "import", str(file)).err
    images.files["/shared/old.qcow2"] = "qcow2"
    done = cluster.run("vm", "import", str(file), "--heartbeat", "agent")
    assert (done.status, "undefine" in done.err) == (0, True)
    assert spec(cluster, "old").desired == "stopped"


def test_the_console_s_log(cluster: Cluster, tmp_path: Path) -> None:
    prepare(cluster)
    assert cluster.run("vm", "create", "web", "--memory", "512", "--disk", IMAGE).status == 0
    assert "written nothing" in cluster.run("vm", "console-log", "web").err
    (tmp_path / "vm-web.console").write_bytes(b"one\r\ntwo\r\nthree\r\n")
    assert cluster.run("vm", "console-log", "web", "-n", "2").out == "two\nthree\n"
    cluster.managed.clear()
    cluster.do(place(cluster.context.store, "vm/web", "n2", epoch=900))
    assert "is on n2" in cluster.run("vm", "console-log", "web").err
    assert "`nobody` does not exist" in cluster.run("vm", "console-log", "nobody").err


def test_rules_states_and_locks(cluster: Cluster) -> None:
    prepare(cluster)
    vm = replace(spec_of_a_machine(cluster), id="vm/b", service="b")
    cluster.put({keys.instance("vm/b"): vm})
    assert "no rule yet" in cluster.run("rule", "list").out
    made = cluster.run("rule", "create", "apart", "anti-affinity", "vm/web", "vm/b")
    assert "must not share a node" in made.out
    assert cluster.run("rule", "create", "near", "node-affinity", "vm/b", "--nodes", "n1=2,n2", "--prefer").status == 0
    assert "cannot be kept" in cluster.run("rule", "create", "pair", "affinity", "vm/web", "vm/b").err
    assert "Write it like n1=2" in cluster.run("rule", "create", "x", "node-affinity", "vm/b", "--nodes", "n1=high").err
    assert "should run on n1 (2), n2 (1)" in cluster.run("rule", "list").out
    assert len(cluster.run("rule", "list", "--json").json) == 2
    assert cluster.run("rule", "delete", "near").status == 0
    assert "locked" in cluster.run("service", "lock", "vm/web", "--reason", "backup").out
    assert "backup" in cluster.run("vm", "show", "web").out
    assert "unlocked" in cluster.run("service", "unlock", "vm/web").out
    assert "disabled" in cluster.run("service", "set-state", "vm/web", "disabled").out
    assert "no state `off`" in cluster.run("service", "set-state", "vm/web", "off").err
    assert "disabled" in cluster.run("vm", "show", "web").out


def spec_of_a_machine(cluster: Cluster) -> InstanceSpec:
    assert cluster.run("vm", "create", "web", "--memory", "512", "--disk", IMAGE).status == 0
    return spec(cluster, "web")
