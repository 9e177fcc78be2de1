"""Who may make machines is no root because of that: what an imported domain and a disk may reach."""

import shutil
from pathlib import Path

import pytest
from api_world import ROOT, memory_store, put
from vm_world import FakeImages, with_compute

from holdfast.api.operations import vm
from holdfast.api.operations.draft import Actor, Draft
from holdfast.api.permissions import Role
from holdfast.errors import Conflict, InvalidInput
from holdfast.services.backup_gateway.cluster import BackupCluster
from holdfast.services.storage import MARKER, OWNED
from holdfast.services.vm.config import from_instance
from holdfast.services.vm.domain import domain_xml, import_domain
from holdfast.services.vm.images import MACHINERY, QemuImages
from holdfast.store import keys

OTTO = Actor("otto", "token:ci", role=Role.OPERATOR, scopes=("operate:vm",))
DOMAIN = """<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>old</name>
<title>a/b</title><metadata><x:os xmlns:x='http://libosinfo.org/1'><x:y id='http://debian.org/debian/12'/></x:os></metadata>
<memory unit='GiB'>1</memory><vcpu>2</vcpu>
<os firmware='efi'><type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE.fd</loader><boot dev='hd'/>{os}</os>
<features><acpi/><apic/></features><cpu mode='host-model'/>
<clock offset='timezone' timezone='Europe/Berlin'><timer name='rtc'/></clock>
<devices>
<emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/shared/images/debian.qcow2'/></disk>
<disk type='file' device='cdrom'><source file='/etc/shadow'/></disk>
<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='{bridge}'/></interface>
<serial type='unix'><source mode='connect' path='/run/holdfast/api.sock'/></serial>
<channel type='unix'><source mode='bind' path='/var/lib/libvirt/x.sock'/>
<target type='virtio' name='org.qemu.guest_agent.0'/></channel>
<controller type='pci' model='pcie-root'/><input type='tablet' bus='usb'/><video><model type='virtio'/></video>
<graphics type='vnc' port='-1' autoport='yes'/><rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
{device}</devices><seclabel type='none'/>{top}</domain>"""

REACHING = {
    "options for QEMU": {"top": "<qemu:commandline><qemu:arg value='-fsdev'/></qemu:commandline>"},
    "a pipe of the host": {"device": "<channel type='pipe'><source path='/run/holdfast/api.sock'/></channel>"},
    "a socket of the network": {"device": "<channel type='tcp'><source mode='connect' host='127.0.0.1'/></channel>"},
    "a file of the host": {"device": "<channel type='file'><source path='/etc/cron.d/x'/></channel>"},
    "a directory of the host": {"device": "<filesystem type='mount'><source dir='/'/><target dir='r'/></filesystem>"},
    "a device of the host": {"device": "<hostdev mode='subsystem' type='pci'/>"},
    "memory of the host": {"device": "<shmem name='x'/>"},
    "a device to be read": {"device": "<rng model='virtio'><backend model='random'>/etc/shadow</backend></rng>"},
    "a socket beside QEMU": {"device": "<graphics type='vnc' socket='vmlinuz'/>"},
    "keys of the host": {"device": "<input type='evdev'><source dev='/dev/input/event0'/></input>"},
    "a second list of devices": {
        "top": "<devices><disk type='block' device='cdrom'><source dev='/dev/sda'/></disk></devices>"
    },
    "a firmware that is none": {"os": "<loader>/etc/shadow</loader>"},
    "a firmware found upwards": {"os": "<loader>/usr/share/../../etc/shadow</loader>"},
    "a file to be written": {"os": "<nvram>/etc/passwd</nvram>"},
    "tables from a file": {"os": "<acpi><table type='slic'>/etc/shadow</table></acpi>"},
    "another control group": {"top": "<resource><partition>/holdfast</partition></resource>"},
    "a file as firmware's setting": {"top": "<sysinfo type='fwcfg'><entry name='a' file='vmlinuz'/></sysinfo>"},
}


def made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(1 << 20))
    return path


def domain(**parts: str) -> str:
    return DOMAIN.format(**{"os": "", "device": "", "top": "", "bridge": "br0", **parts})


@pytest.mark.parametrize("parts", REACHING.values(), ids=REACHING)
async def test_a_domain_that_reaches_beyond_its_guest_is_imported_by_root_only(parts: dict[str, str]) -> None:
    store, images = memory_store(), FakeImages()
    await with_compute(store)
    with pytest.raises(InvalidInput, match="reach beyond the guest"):
        await vm.import_xml(store, OTTO, images, domain(**parts), vm.Wish())
    assert not vm.machines(await Draft.open(store))
    await vm.import_xml(store, ROOT, images, domain(**parts), vm.Wish())


async def test_an_ordinary_domain_is_imported_without_the_places_of_its_former_host() -> None:
    store, images = memory_store(), FakeImages()
    await with_compute(store)
    await vm.import_xml(store, OTTO, images, domain(), vm.Wish())
    [spec] = vm.machines(await Draft.open(store))
    made = domain_xml(spec, from_instance(spec), kvm=True)
    assert "OVMF_CODE.fd" in made
    assert "org.qemu.guest_agent.0" in made
    for gone in ("api.sock", "/etc/shadow", "x.sock", "seclabel"):
        assert gone not in made


async def test_a_password_in_a_domain_is_not_kept_in_clear() -> None:
    for actor in (OTTO, ROOT):
        with pytest.raises(InvalidInput, match="kept in clear"):
            text = domain(device="<graphics type='spice' passwd='s3cret'/>")
            await vm.import_xml(memory_store(), actor, FakeImages(), text, vm.Wish())


async def test_who_imports_a_domain_does_not_choose_the_bridges_of_a_node() -> None:
    store, images = memory_store(), FakeImages()
    await with_compute(store)
    with pytest.raises(Conflict, match="`br-storage` is no bridge"):
        await vm.import_xml(store, OTTO, images, domain(bridge="br-storage"), vm.Wish())


async def test_an_imported_kernel_lies_on_the_shared_storage() -> None:
    store, images = memory_store(), FakeImages()
    await with_compute(store)
    for actor in (OTTO, ROOT):
        with pytest.raises(InvalidInput, match="is no file below"):
            await vm.import_xml(store, actor, images, domain(os="<kernel>/etc/shadow</kernel>"), vm.Wish())


@pytest.mark.parametrize(
    "change",
    [
        ("<vcpu>2</vcpu>", "<vcpu>two</vcpu>"),
        ("<vcpu>2</vcpu>", f"<vcpu>{'9' * 5000}</vcpu>"),
        (">1</memory>", f">{'9' * 400}</memory>"),
        ("<features>", f"<features>{'<a>' * 5000}{'</a>' * 5000}"),
    ],
    ids=("no number", "many cores", "much memory", "deep"),
)
def test_numbers_and_depths_that_no_domain_has_are_refused(change: tuple[str, str]) -> None:
    with pytest.raises(InvalidInput):
        import_domain(domain().replace(*change))


async def test_what_a_backup_cluster_keeps_is_no_disk() -> None:
    store = memory_store()
    await with_compute(store)
    own = "/shared/backup/main/users/otto/data/00/abc"
    images = FakeImages({own: "raw", "/shared/backup2.raw": "raw"})
    cluster = BackupCluster("main", "b.example.com", {}, "public", (), "local:/shared/backup/main", "", False, 8000)
    await put(store, {keys.backup_cluster("main"): cluster})
    machine = vm.Machine("web", 1.0, 512, disks=(own,))
    for refused in (
        vm.create(store, OTTO, images, machine, vm.Wish(), lambda _percent: None),
        vm.create(store, OTTO, images, vm.Machine("web", 1.0, 512, kernel=own), vm.Wish(), lambda _percent: None),
        vm.delete_disks(store, OTTO, images, [own]),
        vm.delete_disks(store, ROOT, images, [own]),
    ):
        with pytest.raises(InvalidInput, match="belongs to the backup cluster `main`"):
            await refused
    assert own in images.files
    await vm.delete_disks(store, OTTO, images, ["/shared/backup2.raw"])


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs qemu-utils")
async def test_files_of_other_services_are_no_disks_to_use_to_copy_or_to_delete(tmp_path: Path) -> None:
    others = [f"{kind}/x.img" for kind in OWNED if kind != "vm"]
    images, root = QemuImages(), str(tmp_path)
    for name in (*others, *(f"vm/{name}/x.img" for name in MACHINERY), MARKER, "vm/web/x.img", "images/x.img"):
        path = made(tmp_path / name)
        if name in ("vm/web/x.img", "images/x.img"):
            assert (await images.inspect(str(path), root)).path == await images.locate(str(path), root)
            continue
        for looking in (images.inspect, images.locate):
            with pytest.raises(InvalidInput, match="belongs to another service"):
                await looking(str(path), root)
        assert (await images.inspect(str(path), "/")).path == str(path), "root copies what it likes"
    (tmp_path / "images/link").symlink_to(tmp_path / "iscsi/x.img")
    with pytest.raises(InvalidInput, match="belongs to another service"):
        await images.locate(str(tmp_path / "images/link"), root)
