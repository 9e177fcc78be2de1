"""What runs, where, and what is planned. Written by scripts/make-client."""

from collections.abc import Mapping, Sequence
from typing import Unpack

from holdfast.api.answers import ComputeAnswer, ConsoleAnswer, RuleAnswer, ServiceAnswer, VmsAnswer
from holdfast.api.operations.planning import Assurance, Evening, WhatIf
from holdfast.api.operations.terms import Outcome
from holdfast.api.status import InstanceView, ServiceStatus
from holdfast.client.calls import Calls, Terms, Tried, given
from holdfast.client.paths import part, parts
from holdfast.core.explain import Explanation


class RunningCalls(Calls):
    """What runs, where, and what is planned."""

    def list_services(self) -> tuple[ServiceStatus, ...]:
        """All services of all kinds."""
        return self.ask(tuple[ServiceStatus, ...], "GET", "/services")

    def get_service(self, kind: str, name: str) -> ServiceAnswer:
        """The service with the views of its instances."""
        return self.ask(ServiceAnswer, "GET", f"/services/{part(kind)}/{part(name)}")

    def start_service(self, kind: str, name: str, *, force: bool | None = None, **terms: Unpack[Terms]) -> Outcome:
        """`force`: also where the cluster would not survive the tolerated failures any more."""
        return self.ask(
            Outcome, "POST", f"/services/{part(kind)}/{part(name)}/start", query=given(force=force), **terms
        )

    def stop_service(self, kind: str, name: str, **terms: Unpack[Terms]) -> Outcome:
        """Stop it on purpose: it stays stopped until it is started."""
        return self.ask(Outcome, "POST", f"/services/{part(kind)}/{part(name)}/stop", **terms)

    def set_service_state(
        self, kind: str, name: str, *, state: str, force: bool | None = None, **terms: Unpack[Terms]
    ) -> Outcome:
        """`started`, `stopped`, `disabled` or `ignored`."""
        return self.ask(
            Outcome, "PUT", f"/services/{part(kind)}/{part(name)}/state", body=given(state=state, force=force), **terms
        )

    def list_instances(self) -> tuple[InstanceView, ...]:
        """All instances: where they are, how they are, and why they wait."""
        return self.ask(tuple[InstanceView, ...], "GET", "/instances")

    def get_instance(self, instance_id: str) -> InstanceView:
        """One instance."""
        return self.ask(InstanceView, "GET", f"/instances/{parts(instance_id)}")

    def move_instance(
        self, instance_id: str, *, node: str | None = None, live: bool | None = None, **terms: Unpack[Terms]
    ) -> Outcome:
        """A planned move, to a node or wherever the planner likes."""
        return self.ask(
            Outcome, "POST", f"/instances/{parts(instance_id)}/move", body=given(node=node, live=live), **terms
        )

    def lock_instance(self, instance_id: str, *, reason: str | None = None, **terms: Unpack[Terms]) -> Outcome:
        """No planned move until it is unlocked."""
        return self.ask(Outcome, "POST", f"/instances/{parts(instance_id)}/lock", body=given(reason=reason), **terms)

    def unlock_instance(self, instance_id: str, **terms: Unpack[Terms]) -> Outcome:
        """Planned moves are possible again."""
        return self.ask(Outcome, "DELETE", f"/instances/{parts(instance_id)}/lock", **terms)

    def list_rules(self) -> list[RuleAnswer]:
        """All placement rules."""
        return self.ask(list[RuleAnswer], "GET", "/rules")

    def get_rule(self, name: str) -> RuleAnswer:
        """One placement rule, in words, too."""
        return self.ask(RuleAnswer, "GET", f"/rules/{part(name)}")

    def create_rule(
        self,
        *,
        name: str,
        kind: str,
        instances: Sequence[str],
        nodes: Mapping[str, int] | None = None,
        after: Sequence[str] | None = None,
        strict: bool | None = None,
        by: str | None = None,
        force: bool | None = None,
        **terms: Unpack[Tried],
    ) -> Outcome:
        """Refused with the reason where it contradicts the others."""
        return self.ask(
            Outcome,
            "POST",
            "/rules",
            body=given(
                name=name, kind=kind, instances=instances, nodes=nodes, after=after, strict=strict, by=by, force=force
            ),
            **terms,
        )

    def delete_rule(self, name: str, **terms: Unpack[Terms]) -> Outcome:
        """It holds no more."""
        return self.ask(Outcome, "DELETE", f"/rules/{part(name)}", **terms)

    def explain(self, instance_id: str) -> Explanation:
        """Why it is where it is, why it waits, and for each node the reason for or against."""
        return self.ask(Explanation, "GET", f"/planner/explain/{parts(instance_id)}")

    def what_if(self, *, fail: Sequence[str]) -> WhatIf:
        """These nodes fail at once: where everything goes, what does not fit and why, what the cluster survives then."""
        return self.ask(WhatIf, "GET", "/planner/what-if", query=given(fail=fail))

    def get_guarantee(self, *, tolerate: int | None = None) -> Assurance:
        """What the cluster survives, computed now. `tolerate`: so many failures instead of what it is to survive."""
        return self.ask(Assurance, "GET", "/planner/guarantee", query=given(tolerate=tolerate))

    def propose_rebalance(self, *, limit: int | None = None, restarts: bool | None = None) -> Evening:
        """The moves that would even out the load, each with gain and cost. Nothing is done."""
        return self.ask(Evening, "GET", "/planner/rebalance", query=given(limit=limit, restarts=restarts))

    def rebalance(
        self,
        *,
        limit: int | None = None,
        restarts: bool | None = None,
        force: bool | None = None,
        **terms: Unpack[Tried],
    ) -> Outcome:
        """Ask for these moves."""
        return self.ask(
            Outcome, "POST", "/planner/rebalance", body=given(limit=limit, restarts=restarts, force=force), **terms
        )

    def get_compute(self) -> ComputeAnswer:
        """The settings (null before `create-cluster`), what its nodes have and may still take, and the guarantee."""
        return self.ask(ComputeAnswer, "GET", "/compute")

    def create_compute(
        self,
        *,
        nodes: Sequence[str],
        tolerate: int | None = None,
        ha: bool | None = None,
        reserve_cpu: float | None = None,
        reserve_memory_mib: int | None = None,
        bridges: Mapping[str, str] | None = None,
        **terms: Unpack[Terms],
    ) -> Outcome:
        """Which nodes run virtual machines, and how many of them may fail."""
        return self.ask(
            Outcome,
            "POST",
            "/compute",
            body=given(
                nodes=nodes,
                tolerate=tolerate,
                ha=ha,
                reserve_cpu=reserve_cpu,
                reserve_memory_mib=reserve_memory_mib,
                bridges=bridges,
            ),
            **terms,
        )

    def change_compute(
        self,
        *,
        nodes: Sequence[str] | None = None,
        tolerate: int | None = None,
        reserve_cpu: float | None = None,
        reserve_memory_mib: int | None = None,
        rebalance: str | None = None,
        bridges: Mapping[str, str] | None = None,
        force: bool | None = None,
        **terms: Unpack[Terms],
    ) -> Outcome:
        """Settings of the compute cluster; what is left out stays."""
        return self.ask(
            Outcome,
            "PUT",
            "/compute",
            body=given(
                nodes=nodes,
                tolerate=tolerate,
                reserve_cpu=reserve_cpu,
                reserve_memory_mib=reserve_memory_mib,
                rebalance=rebalance,
                bridges=bridges,
                force=force,
            ),
            **terms,
        )

    def enable_compute_ha(self, **terms: Unpack[Terms]) -> Outcome:
        """Machines of nodes that fail are started elsewhere."""
        return self.ask(Outcome, "POST", "/compute/ha", **terms)

    def disable_compute_ha(self, **terms: Unpack[Terms]) -> Outcome:
        """Machines of nodes that fail stay where they are."""
        return self.ask(Outcome, "DELETE", "/compute/ha", **terms)

    def list_vms(self) -> VmsAnswer:
        """The compute cluster's settings (null before `create-cluster`) and its machines."""
        return self.ask(VmsAnswer, "GET", "/vms")

    def get_vm(self, name: str) -> InstanceView:
        """One virtual machine."""
        return self.ask(InstanceView, "GET", f"/vms/{part(name)}")

    def create_vm(
        self,
        *,
        name: str,
        cpu: float,
        memory_mib: int,
        on_power_off: str | None = None,
        heartbeat: str | None = None,
        hang_s: float | None = None,
        on_hang: str | None = None,
        on_storage_loss: str | None = None,
        storage_loss_s: float | None = None,
        priority: int | None = None,
        ha: bool | None = None,
        preemptible: bool | None = None,
        started: bool | None = None,
        node: str | None = None,
        force: bool | None = None,
        disks: Sequence[str] | None = None,
        copy_disks: bool | None = None,
        sizes: Sequence[int] | None = None,
        networks: Sequence[str] | None = None,
        kernel: str | None = None,
        initrd: str | None = None,
        cmdline: str | None = None,
        **terms: Unpack[Tried],
    ) -> Outcome:
        """Where disks are copied the answer is 202; its task says how far it is, and goes on until the machine runs."""
        return self.ask(
            Outcome,
            "POST",
            "/vms",
            body=given(
                on_power_off=on_power_off,
                heartbeat=heartbeat,
                hang_s=hang_s,
                on_hang=on_hang,
                on_storage_loss=on_storage_loss,
                storage_loss_s=storage_loss_s,
                priority=priority,
                ha=ha,
                preemptible=preemptible,
                started=started,
                node=node,
                force=force,
                name=name,
                cpu=cpu,
                memory_mib=memory_mib,
                disks=disks,
                copy_disks=copy_disks,
                sizes=sizes,
                networks=networks,
                kernel=kernel,
                initrd=initrd,
                cmdline=cmdline,
            ),
            **terms,
        )

    def import_vm(
        self,
        *,
        xml: str,
        on_power_off: str | None = None,
        heartbeat: str | None = None,
        hang_s: float | None = None,
        on_hang: str | None = None,
        on_storage_loss: str | None = None,
        storage_loss_s: float | None = None,
        priority: int | None = None,
        ha: bool | None = None,
        preemptible: bool | None = None,
        started: bool | None = None,
        node: str | None = None,
        force: bool | None = None,
        **terms: Unpack[Tried],
    ) -> Outcome:
        """An existing libvirt domain, whose disks lie on the shared storage already. Unless root imports it on a node,
        nothing in it may reach beyond the guest."""
        return self.ask(
            Outcome,
            "POST",
            "/vms/import",
            body=given(
                on_power_off=on_power_off,
                heartbeat=heartbeat,
                hang_s=hang_s,
                on_hang=on_hang,
                on_storage_loss=on_storage_loss,
                storage_loss_s=storage_loss_s,
                priority=priority,
                ha=ha,
                preemptible=preemptible,
                started=started,
                node=node,
                force=force,
                xml=xml,
            ),
            **terms,
        )

    def change_vm(
        self,
        name: str,
        *,
        on_power_off: str | None = None,
        heartbeat: str | None = None,
        hang_s: float | None = None,
        on_hang: str | None = None,
        on_storage_loss: str | None = None,
        storage_loss_s: float | None = None,
        cpu: float | None = None,
        memory_mib: int | None = None,
        priority: int | None = None,
        ha: bool | None = None,
        preemptible: bool | None = None,
        force: bool | None = None,
        **terms: Unpack[Terms],
    ) -> Outcome:
        """Its size, priority and policies; what is left out stays. Cores, memory and heartbeat: of a stopped machine
        only."""
        return self.ask(
            Outcome,
            "PUT",
            f"/vms/{part(name)}",
            body=given(
                on_power_off=on_power_off,
                heartbeat=heartbeat,
                hang_s=hang_s,
                on_hang=on_hang,
                on_storage_loss=on_storage_loss,
                storage_loss_s=storage_loss_s,
                cpu=cpu,
                memory_mib=memory_mib,
                priority=priority,
                ha=ha,
                preemptible=preemptible,
                force=force,
            ),
            **terms,
        )

    def delete_vm(
        self, name: str, *, force: bool | None = None, disks: bool | None = None, **terms: Unpack[Terms]
    ) -> Outcome:
        """Its disks stay, unless `disks`: then the task deletes them once the machine is gone. (For one that is gone already
        POST /vms/disks/delete does so.)"""
        return self.ask(Outcome, "DELETE", f"/vms/{part(name)}", query=given(force=force, disks=disks), **terms)

    def delete_vm_disks(self, *, paths: Sequence[str], **terms: Unpack[Tried]) -> Outcome:
        """Delete disks that no machine uses, for good."""
        return self.ask(Outcome, "POST", "/vms/disks/delete", body=given(paths=paths), **terms)

    def get_vm_console(self, name: str, *, lines: int | None = None) -> ConsoleAnswer:
        """The end of what the guest wrote to its serial console."""
        return self.ask(ConsoleAnswer, "GET", f"/vms/{part(name)}/console", query=given(lines=lines))
