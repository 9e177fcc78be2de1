"""holdfast vm: virtual machines."""

from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli import connection, output
from holdfast.cli.options import content, memory_mib, names, size
from holdfast.cli.output import Json
from holdfast.cli.wait import TIMEOUT_S, Timeout, Wait, complete, follow
from holdfast.client import part
from holdfast.errors import InvalidInput

COPYING_S = 24 * 3600.0
"""Give up waiting for copies after this time."""

app = typer.Typer(no_args_is_help=True)

Vm = Annotated[str, typer.Argument(help="Name of the machine.")]
Priority = Annotated[int, typer.Option("--priority", help="0 to 1000; the higher is recovered first.", min=0, max=1000)]
Ha = Annotated[bool, typer.Option("--ha/--no-ha", help="Recovered when its node dies; else it waits for that node.")]
Preemptible = Annotated[bool, typer.Option("--preemptible", help="May be stopped where a higher priority needs room.")]
OnPowerOff = Annotated[str | None, typer.Option("--on-power-off", help="The guest shut itself down: stop or restart.")]
Heartbeat = Annotated[str | None, typer.Option("--heartbeat", help="How a hung guest is noticed: none, agent or port.")]
OnHang = Annotated[str | None, typer.Option("--on-hang", help="What then: reset or ignore.")]
HangAfter = Annotated[float | None, typer.Option("--hang-after", help="Seconds without a heartbeat.", min=2)]
OnStorageLoss = Annotated[
    str | None, typer.Option("--on-storage-loss", help="Its node cannot reach the disks: restart elsewhere, or ignore.")
]
StorageLossAfter = Annotated[
    float | None, typer.Option("--storage-loss-after", help="Seconds without the storage until then.", min=2)
]
Node = Annotated[str, typer.Option("--node", help="Where it is to start; else by free resources.", metavar="NODE")]
Start = Annotated[bool, typer.Option("--start/--no-start", help="Start it at once.")]
Force = Annotated[bool, typer.Option("--force", help="Even if the tolerated failures are not survived any more.")]


@app.command()
def create(
    name: Vm,
    cpu: Annotated[float, typer.Option("--cpu", help="Cores.", min=0.01)] = 1.0,
    memory: Annotated[str, typer.Option("--memory", help="Memory, e.g. 2GiB; a bare number is MiB.")] = "1GiB",
    disk: Annotated[
        list[str], typer.Option("--disk", help="Image on the shared storage. Repeatable.", metavar="IMAGE")
    ] = [],  # noqa: B006
    copy: Annotated[bool, typer.Option("--copy", help="Copy the images; else they are used where they are.")] = False,
    disk_size: Annotated[
        list[str], typer.Option("--disk-size", help="Make an empty disk, e.g. 20GiB. Repeatable.", metavar="SIZE")
    ] = [],  # noqa: B006
    network: Annotated[
        list[str], typer.Option("--network", help="A cluster network with a bridge. Repeatable.", metavar="NETWORK")
    ] = [],  # noqa: B006
    kernel: Annotated[str, typer.Option("--kernel", help="Boot this kernel directly.", metavar="FILE")] = "",
    initrd: Annotated[str, typer.Option("--initrd", metavar="FILE")] = "",
    cmdline: Annotated[str, typer.Option("--cmdline", help="The kernel's command line.")] = "",
    priority: Priority = 500,
    ha: Ha = True,
    preemptible: Preemptible = False,
    on_power_off: OnPowerOff = None,
    heartbeat: Heartbeat = None,
    on_hang: OnHang = None,
    hang_after: HangAfter = None,
    on_storage_loss: OnStorageLoss = None,
    storage_loss_after: StorageLossAfter = None,
    node: Node = "",
    start: Start = True,
    force: Force = False,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Create a machine and wait until it runs."""
    body = {
        "name": name,
        "cpu": cpu,
        "memory_mib": memory_mib(memory),
        "disks": names(disk),
        "copy_disks": copy,
        "sizes": [size(text) for text in disk_size],
        "networks": names(network),
        "kernel": kernel,
        "initrd": initrd,
        "cmdline": cmdline,
        **_wish(priority, ha, preemptible, node, start, force),
        **_policies(on_power_off, heartbeat, on_hang, hang_after, on_storage_loss, storage_loss_after),
    }
    api = connection.api()
    answer = api.post("/vms", body)
    # Copies take as long as they take; who does not wait for the machine waits for them all the same.
    complete(api, answer, wait=wait or copy, timeout=COPYING_S if copy else timeout, as_json=as_json)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="Made by: virsh dumpxml --inactive NAME.", metavar="FILE.xml")],
    priority: Priority = 500,
    ha: Ha = True,
    preemptible: Preemptible = False,
    on_power_off: OnPowerOff = None,
    heartbeat: Heartbeat = None,
    on_hang: OnHang = None,
    hang_after: HangAfter = None,
    on_storage_loss: OnStorageLoss = None,
    storage_loss_after: StorageLossAfter = None,
    node: Node = "",
    start: Start = False,
    force: Force = False,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Take over a libvirt domain whose disks lie on the shared storage. Started only with --start."""
    body = {
        "xml": content(file),
        **_wish(priority, ha, preemptible, node, start, force),
        **_policies(on_power_off, heartbeat, on_hang, hang_after, on_storage_loss, storage_loss_after),
    }
    api = connection.api()
    answer = api.post("/vms/import", body)
    complete(api, answer, wait=wait, timeout=timeout, as_json=as_json)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """All machines."""
    found = connection.api().get("/vms")
    if as_json:
        output.emit_json(found)
        return
    output.table(
        ("Machine", "State", "Healthy", "Node", "Cores", "MiB", "Priority", "HA", "Waiting for"),
        (
            (
                vm["service"],
                vm["state"],
                output.yes_no(vm["healthy"]),
                vm["node"] or "-",
                f"{vm['cpu']:g}",
                vm["memory_mib"],
                vm["priority"],
                "on" if vm["ha"] and (found["cluster"] or {}).get("ha", True) else "off",
                vm["waiting"],
            )
            for vm in found["vms"]
        ),
        empty="There is no virtual machine yet. Create one with `holdfast vm create NAME --disk IMAGE`."
        if found["cluster"]
        else "There is no compute cluster yet. Create it with `holdfast compute create-cluster --nodes …`.",
    )


@app.command()
def show(name: Vm, as_json: Json = False) -> None:
    """One machine: where it is and why, what it has, what it does when something happens."""
    found = connection.api().get(f"/services/vm/{part(name)}")
    if as_json:
        output.emit_json(found)
        return
    vm = found["instances"][0]
    config = vm["config"]
    nics = [f"{nic['mac']} on {nic['bridge']}" for nic in config.get("networks", ())]
    output.facts(
        [
            ("Machine", name + (" (being deleted)" if found["service"]["deleting"] else "")),
            ("Wanted", vm["desired"]),
            ("State", vm["state"] + (", healthy" if vm["healthy"] else "")),
            ("Node", vm["node"]),
            ("Why there", vm["reason"]),
            ("Moving to", vm["moving_to"]),
            ("Waiting", vm["waiting"]),
            ("Detail", vm["detail"]),
            ("Size", f"{vm['cpu']:g} cores, {vm['memory_mib']} MiB"),
            ("Priority", str(vm["priority"]) + (", may be stopped for a higher one" if vm["preemptible"] else "")),
            ("High availability", "on" if vm["ha"] else "off: it waits for its own node"),
            ("Locked", vm["locked"]),
            ("Disks", ", ".join(disk["path"] for disk in config.get("disks", ()))),
            ("Network cards", ", ".join(nics)),
            ("Kernel", config.get("kernel")),
            ("UUID", config.get("uuid")),
            ("Powered off by its guest", config.get("on_power_off")),
            ("Heartbeat", _heartbeat(config)),
            ("Storage lost", _storage_loss(config)),
        ]
    )


def _heartbeat(config: dict[str, Any]) -> str:
    kind = config.get("heartbeat", "none")
    return kind if kind == "none" else f"{kind}; {config['on_hang']} after {config['hang_s']:g} s without one"


def _storage_loss(config: dict[str, Any]) -> str:
    policy = str(config.get("on_storage_loss", "restart"))
    return policy if policy == "ignore" else f"{policy} after {config.get('storage_loss_s', 60.0):g} s without it"


@app.command()
def start(
    name: Vm, force: Force = False, wait: Wait = True, timeout: Timeout = TIMEOUT_S, as_json: Json = False
) -> None:
    """Start a machine."""
    api = connection.api()
    answer = api.post(f"/services/vm/{part(name)}/start" + ("?force=true" if force else ""))
    complete(api, answer, wait=wait, timeout=timeout, as_json=as_json)


@app.command()
def stop(name: Vm, wait: Wait = True, timeout: Timeout = TIMEOUT_S, as_json: Json = False) -> None:
    """Shut a machine down; it is ended by force when its guest does not obey."""
    api = connection.api()
    answer = api.post(f"/services/vm/{part(name)}/stop")

    complete(api, answer, wait=wait, timeout=timeout, as_json=as_json)


@app.command()
def migrate(
    name: Vm,
    to: Annotated[str, typer.Option("--to", help="Target node; without it any other node.", metavar="NODE")] = "",
    live: Annotated[bool, typer.Option("--live/--restart", help="Without an interruption, or stop and start.")] = True,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Move a machine to another node while it runs."""
    api = connection.api()
    answer = api.post(f"/instances/vm/{part(name)}/move", {"node": to, "live": live})

    complete(api, answer, wait=wait, timeout=timeout, as_json=as_json)


@app.command("set")
def set_(
    name: Vm,
    cpu: Annotated[float | None, typer.Option("--cpu", help="Cores; of a stopped machine.", min=0.01)] = None,
    memory: Annotated[str, typer.Option("--memory", help="Memory, e.g. 2GiB; of a stopped machine.")] = "",
    priority: Annotated[int | None, typer.Option("--priority", help="0 to 1000.", min=0, max=1000)] = None,
    ha: Annotated[bool | None, typer.Option("--ha/--no-ha", help="Recovered when its node dies.")] = None,
    preemptible: Annotated[
        bool | None, typer.Option("--preemptible/--no-preemptible", help="May be stopped for a higher priority.")
    ] = None,
    on_power_off: OnPowerOff = None,
    heartbeat: Heartbeat = None,
    on_hang: OnHang = None,
    hang_after: HangAfter = None,
    on_storage_loss: OnStorageLoss = None,
    storage_loss_after: StorageLossAfter = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Change a machine; what is not named stays."""
    body = {
        "cpu": cpu,
        "memory_mib": memory_mib(memory) if memory else None,
        "priority": priority,
        "ha": ha,
        "preemptible": preemptible,
        "force": force,
        **_policies(on_power_off, heartbeat, on_hang, hang_after, on_storage_loss, storage_loss_after),
    }
    output.outcome(connection.api().put(f"/vms/{part(name)}", body), as_json=as_json)


@app.command()
def delete(
    name: Vm,
    force: Annotated[bool, typer.Option("--force", help="Also while it runs: it is ended at once.")] = False,
    delete_disks: Annotated[bool, typer.Option("--delete-disks", help="Its disks too, for good.")] = False,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Forget a machine. Its disks stay on the shared storage unless they are to be deleted too."""
    if delete_disks and not wait:
        raise InvalidInput("disks are deleted when the machine is gone", "Leave --no-wait out.")
    api = connection.api()
    answer = api.delete(f"/vms/{part(name)}", force=str(force).lower())
    if wait:
        follow(api, answer, timeout=timeout)
    paths = answer["data"]["disks"]
    if delete_disks and paths:
        answer = api.post("/vms/disks/delete", {"paths": paths})
        answer = {**answer, "text": f"virtual machine {name} and its disks are deleted: {', '.join(paths)}"}
    output.outcome(answer, as_json=as_json)


@app.command("console-log")
def console_log(
    name: Vm,
    lines: Annotated[int, typer.Option("--lines", "-n", help="So many from the end.", min=1, max=10_000)] = 200,
    as_json: Json = False,
) -> None:
    """What the guest wrote to its serial console."""
    found = connection.api().get(f"/vms/{part(name)}/console", lines=lines)
    if as_json:
        output.emit_json(found)
    else:
        output.say("\n".join(found["lines"]))


# --- small things -------------------------------------------------------------------------------------------------------


def _wish(priority: int, ha: bool, preemptible: bool, node: str, start: bool, force: bool) -> dict[str, Any]:
    return {
        "priority": priority,
        "ha": ha,
        "preemptible": preemptible,
        "node": node,
        "started": start,
        "force": force,
    }


def _policies(
    on_power_off: str | None,
    heartbeat: str | None,
    on_hang: str | None,
    hang_s: float | None,
    on_storage_loss: str | None,
    storage_loss_s: float | None,
) -> dict[str, Any]:
    return {
        "on_power_off": on_power_off,
        "heartbeat": heartbeat,
        "on_hang": on_hang,
        "hang_s": hang_s,
        "on_storage_loss": on_storage_loss,
        "storage_loss_s": storage_loss_s,
    }
