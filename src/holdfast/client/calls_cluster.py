"""The cluster, its nodes, its management plane and its history. Written by scripts/make-client."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from holdfast.api.answers import DrillShown, HaAnswer, Said
from holdfast.api.history import EventLine
from holdfast.api.operations.fence_test import DeviceTest
from holdfast.api.operations.planning import Precheck
from holdfast.api.operations.receivers import ReceiverView
from holdfast.api.operations.terms import Outcome
from holdfast.api.paging import Page
from holdfast.api.status import ClusterStatus, NodeStatus
from holdfast.api.task_model import TaskView
from holdfast.client.calls import Calls, Terms, Tried, given
from holdfast.client.paths import part
from holdfast.core.alarm_model import Alarm
from holdfast.core.history import Incident


class ClusterCalls(Calls):
    """The cluster, its nodes, its management plane and its history."""

    def get_status(self) -> ClusterStatus:
        """The whole picture (ClusterStatus)."""
        return self.ask(ClusterStatus, "GET", "/status")

    def update_cluster(self, *, dead_node_power_on: bool, **terms: Unpack[Terms]) -> Outcome:
        """What the cluster does by itself."""
        return self.ask(Outcome, "PUT", "/cluster", body=given(dead_node_power_on=dead_node_power_on), **terms)

    def set_shutdown_policy(self, *, policy: str, **terms: Unpack[Terms]) -> Outcome:
        """What becomes of instances when their node is shut down in good order."""
        return self.ask(Outcome, "PUT", "/cluster/shutdown-policy", body=given(policy=policy), **terms)

    def list_nodes(self) -> tuple[NodeStatus, ...]:
        """All nodes, with their state and what they carry."""
        return self.ask(tuple[NodeStatus, ...], "GET", "/nodes")

    def get_node(self, node_id: str) -> NodeStatus:
        """One node."""
        return self.ask(NodeStatus, "GET", f"/nodes/{part(node_id)}")

    def add_node(
        self,
        *,
        id: str,
        roles: Sequence[str],
        addresses: Mapping[str, str],
        failure_domain: str | None = None,
        fence_devices: Sequence[Mapping[str, Any]] | None = None,
        token_s: float | None = None,
        **terms: Unpack[Tried],
    ) -> Outcome:
        """`data` holds the join token, or the join bundle in base64: keep it as secret as a password."""
        return self.ask(
            Outcome,
            "POST",
            "/nodes",
            body=given(
                id=id,
                roles=roles,
                addresses=addresses,
                failure_domain=failure_domain,
                fence_devices=fence_devices,
                token_s=token_s,
            ),
            **terms,
        )

    def change_node(
        self,
        node_id: str,
        *,
        slots: Mapping[str, int | None] | None = None,
        failure_domain: str | None = None,
        force: bool | None = None,
        **terms: Unpack[Terms],
    ) -> Outcome:
        """Its failure domain, or how many instances of each kind it carries at most; what is left out stays."""
        return self.ask(
            Outcome,
            "PUT",
            f"/nodes/{part(node_id)}",
            body=given(slots=slots, failure_domain=failure_domain, force=force),
            **terms,
        )

    def remove_node(self, node_id: str, *, force: bool | None = None, **terms: Unpack[Terms]) -> Outcome:
        """For good: its certificates are revoked, the shared secrets change. It must be idle or dead, unless forced."""
        return self.ask(Outcome, "DELETE", f"/nodes/{part(node_id)}", query=given(force=force), **terms)

    def set_fence_devices(
        self,
        node_id: str,
        *,
        devices: Sequence[Mapping[str, Any]],
        keep: Sequence[str] | None = None,
        **terms: Unpack[Terms],
    ) -> Outcome:
        """All fence devices of a node, in the order in which they are tried; `keep` names present ones that stay."""
        return self.ask(
            Outcome, "PUT", f"/nodes/{part(node_id)}/fence-devices", body=given(devices=devices, keep=keep), **terms
        )

    def test_fence_devices(self, node_id: str) -> list[DeviceTest]:
        """Read the power state through each device of the node; switches nothing."""
        return self.ask(list[DeviceTest], "POST", f"/nodes/{part(node_id)}/fence-test")

    def confirm_dead(
        self, node_id: str, *, reason: str | None = None, yes: bool | None = None, **terms: Unpack[Terms]
    ) -> Outcome:
        """Without `yes` a refusal that says what a wrong word would corrupt."""
        return self.ask(
            Outcome, "POST", f"/nodes/{part(node_id)}/confirm-dead", body=given(reason=reason, yes=yes), **terms
        )

    def precheck_maintenance(self, node_id: str) -> Precheck:
        """What a maintenance of the node would do."""
        return self.ask(Precheck, "GET", f"/nodes/{part(node_id)}/maintenance/precheck")

    def enter_maintenance(
        self, node_id: str, *, bring_back: bool | None = None, force: bool | None = None, **terms: Unpack[Terms]
    ) -> Outcome:
        """The answer's warnings name what cannot leave the node."""
        return self.ask(
            Outcome,
            "POST",
            f"/nodes/{part(node_id)}/maintenance",
            body=given(bring_back=bring_back, force=force),
            **terms,
        )

    def exit_maintenance(self, node_id: str, *, bring_back: bool | None = None, **terms: Unpack[Terms]) -> Outcome:
        """The node may carry instances again; what was moved off it returns if that was wished."""
        return self.ask(
            Outcome, "DELETE", f"/nodes/{part(node_id)}/maintenance", query=given(bring_back=bring_back), **terms
        )

    def return_node(self, node_id: str, **terms: Unpack[Terms]) -> Outcome:
        """End a node's quarantine."""
        return self.ask(Outcome, "POST", f"/nodes/{part(node_id)}/return", **terms)

    def create_join_token(self, node_id: str, *, expires_s: float | None = None, **terms: Unpack[Terms]) -> Outcome:
        """`data.token` is the line for `holdfast node join --token`, told only here: keep it as secret as a password."""
        return self.ask(Outcome, "POST", f"/nodes/{part(node_id)}/tokens", body=given(expires_s=expires_s), **terms)

    def get_ha(self) -> HaAnswer:
        """The management plane: what is wanted, what is there, and whether both agree."""
        return self.ask(HaAnswer, "GET", "/ha")

    def enable_ha(self, *, virtual_ip: str, nodes: Sequence[str], **terms: Unpack[Terms]) -> Outcome:
        """Make the management plane highly available: its nodes, and the panel's address."""
        return self.ask(Outcome, "POST", "/ha", body=given(virtual_ip=virtual_ip, nodes=nodes), **terms)

    def update_ha(
        self, *, virtual_ip: str | None = None, nodes: Sequence[str] | None = None, **terms: Unpack[Terms]
    ) -> Outcome:
        """Other management nodes, or another address of the panel; what is left out stays."""
        return self.ask(Outcome, "PUT", "/ha", body=given(virtual_ip=virtual_ip, nodes=nodes), **terms)

    def disable_ha(self, *, keep: str, **terms: Unpack[Terms]) -> Outcome:
        """Back to one management node."""
        return self.ask(Outcome, "DELETE", "/ha", query=given(keep=keep), **terms)

    def pause_ha(self, *, mode: str | None = None, reason: str | None = None, **terms: Unpack[Terms]) -> Outcome:
        """Nothing is fenced, claimed, placed or moved until it ends."""
        return self.ask(Outcome, "POST", "/ha/pause", body=given(mode=mode, reason=reason), **terms)

    def resume_ha(self, **terms: Unpack[Terms]) -> Outcome:
        """End the pause of high availability."""
        return self.ask(Outcome, "DELETE", "/ha/pause", **terms)

    def list_incidents(self, *, limit: int | None = None, cursor: str | None = None) -> Page[Incident]:
        """Newest first; from memory (recent ones only) while the store is away."""
        return self.ask(Page[Incident], "GET", "/incidents", query=given(limit=limit, cursor=cursor))

    def get_incident(self, incident_id: str) -> Incident:
        """One incident: what happened, step by step, with the proof of death and the recovery of each instance."""
        return self.ask(Incident, "GET", f"/incidents/{part(incident_id)}")

    def list_events(self, *, limit: int | None = None, cursor: str | None = None) -> Page[EventLine]:
        """Newest first; from memory (recent ones only) while the store is away."""
        return self.ask(Page[EventLine], "GET", "/events", query=given(limit=limit, cursor=cursor))

    def list_tasks(
        self, *, limit: int | None = None, cursor: str | None = None, running: bool | None = None
    ) -> Page[TaskView]:
        """Newest first."""
        return self.ask(Page[TaskView], "GET", "/tasks", query=given(limit=limit, cursor=cursor, running=running))

    def get_task(self, task_id: str) -> TaskView:
        """One task with its steps; `last` is the newest."""
        return self.ask(TaskView, "GET", f"/tasks/{part(task_id)}")

    def cancel_task(self, task_id: str, **terms: Unpack[Tried]) -> Outcome:
        """Withdraw a move that has not begun, end a maintenance, break off a copy or a drill. Others are undone by what
        undoes them. `last` is the newest."""
        return self.ask(Outcome, "POST", f"/tasks/{part(task_id)}/cancel", **terms)

    def list_alarms(
        self,
        *,
        cleared: bool | None = None,
        severity: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[Alarm]:
        """What is wrong, the most severe first. `cleared`: what is over, too. `severity`: at least this."""
        return self.ask(
            Page[Alarm], "GET", "/alarms", query=given(cleared=cleared, severity=severity, limit=limit, cursor=cursor)
        )

    def get_alarm(self, alarm_id: str) -> Alarm:
        """One alarm, also one that is over."""
        return self.ask(Alarm, "GET", f"/alarms/{part(alarm_id)}")

    def acknowledge_alarm(self, alarm_id: str, *, note: str | None = None, **terms: Unpack[Tried]) -> Outcome:
        """Somebody looks after it: it stays, and is told again only when it gets worse."""
        return self.ask(Outcome, "POST", f"/alarms/{part(alarm_id)}/acknowledge", body=given(note=note), **terms)

    def list_receivers(self) -> Page[ReceiverView]:
        """Who is told of alarms, without secrets, and how the deliveries go."""
        return self.ask(Page[ReceiverView], "GET", "/alarms/receivers")

    def add_receiver(
        self,
        *,
        name: str,
        min_severity: str | None = None,
        webhook: Mapping[str, Any] | None = None,
        email: Mapping[str, Any] | None = None,
        alertmanager: Mapping[str, Any] | None = None,
        **terms: Unpack[Tried],
    ) -> Outcome:
        """Tell somebody of alarms: by webhook, e-mail or Alertmanager."""
        return self.ask(
            Outcome,
            "POST",
            "/alarms/receivers",
            body=given(name=name, min_severity=min_severity, webhook=webhook, email=email, alertmanager=alertmanager),
            **terms,
        )

    def remove_receiver(self, name: str, **terms: Unpack[Tried]) -> Outcome:
        """Tell it nothing any more."""
        return self.ask(Outcome, "DELETE", f"/alarms/receivers/{part(name)}", **terms)

    def test_receiver(self, name: str) -> Said:
        """Send a test alarm from this node; answers once the receiver has taken it."""
        return self.ask(Said, "POST", f"/alarms/receivers/{part(name)}/test")

    def list_drills(self) -> Page[DrillShown]:
        """The last twenty, newest first."""
        return self.ask(Page[DrillShown], "GET", "/drills")

    def get_drill(self, drill_id: str) -> DrillShown:
        """One drill with its checks; `last` is the newest."""
        return self.ask(DrillShown, "GET", f"/drills/{part(drill_id)}")

    def begin_drill(
        self,
        *,
        nodes: Sequence[str] | None = None,
        instance: str | None = None,
        kill: bool | None = None,
        **terms: Unpack[Tried],
    ) -> Outcome:
        """Look at everything a failover rests on. The answer names the task that follows it; what it finds stands at
        /drills/{id}, under the same id. One at a time in the whole cluster."""
        return self.ask(Outcome, "POST", "/drills", body=given(nodes=nodes, instance=instance, kill=kill), **terms)
