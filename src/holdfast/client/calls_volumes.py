"""NFS and iSCSI. Written by scripts/make-client."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from holdfast.api.answers import IscsiAnswer, NfsAnswer
from holdfast.api.operations.iscsi_picture import GroupView, VolumeView
from holdfast.api.operations.terms import Outcome
from holdfast.api.status import InstanceView
from holdfast.client.calls import Calls, Terms, Tried, given
from holdfast.client.paths import part
from holdfast.services.iscsi.client_config import InitiatorConfig


class VolumesCalls(Calls):
    """NFS and iSCSI."""

    def get_nfs(self) -> NfsAnswer:
        """The address pool (null before `create-cluster`) and the volumes."""
        return self.ask(NfsAnswer, "GET", "/nfs")

    def get_nfs_volume(self, name: str) -> InstanceView:
        """One volume."""
        return self.ask(InstanceView, "GET", f"/nfs/volumes/{part(name)}")

    def create_nfs_cluster(
        self, *, nodes: Sequence[str], addresses: Sequence[str], network: str | None = None, **terms: Unpack[Terms]
    ) -> Outcome:
        """Which nodes serve NFS volumes, and the pool of their service addresses."""
        return self.ask(
            Outcome, "POST", "/nfs/cluster", body=given(nodes=nodes, addresses=addresses, network=network), **terms
        )

    def create_nfs_volume(
        self,
        *,
        name: str,
        size: str | None = None,
        address: str | None = None,
        access: Sequence[str] | None = None,
        **terms: Unpack[Tried],
    ) -> Outcome:
        """A volume with a service address of its own."""
        return self.ask(
            Outcome, "POST", "/nfs/volumes", body=given(name=name, size=size, address=address, access=access), **terms
        )

    def set_nfs_volume_access(self, name: str, *, access: Sequence[str], **terms: Unpack[Terms]) -> Outcome:
        """Who may mount it, and how; all rules at once."""
        return self.ask(Outcome, "PUT", f"/nfs/volumes/{part(name)}/access", body=given(access=access), **terms)

    def delete_nfs_volume(self, name: str, *, force: bool | None = None, **terms: Unpack[Terms]) -> Outcome:
        """Its server is stopped and its address freed; the data stay on the shared storage."""
        return self.ask(Outcome, "DELETE", f"/nfs/volumes/{part(name)}", query=given(force=force), **terms)

    def get_iscsi(self) -> IscsiAnswer:
        """All target groups and volumes; from memory, so it works without the store."""
        return self.ask(IscsiAnswer, "GET", "/iscsi")

    def create_target_group(
        self,
        *,
        nodes: Sequence[str],
        name: str,
        portals: Mapping[str, Sequence[str]] | None = None,
        networks: Sequence[str] | None = None,
        engine: str | None = None,
        iqn: str | None = None,
        initiators: Sequence[str] | None = None,
        **terms: Unpack[Tried],
    ) -> Outcome:
        """Nodes that serve the same volumes under one name, and who may log in."""
        return self.ask(
            Outcome,
            "POST",
            "/iscsi/target-groups",
            body=given(
                nodes=nodes,
                portals=portals,
                name=name,
                networks=networks,
                engine=engine,
                iqn=iqn,
                initiators=initiators,
            ),
            **terms,
        )

    def get_target_group(self, name: str) -> GroupView:
        """Its nodes, the state of each LUN's path on each of them, and who is logged in."""
        return self.ask(GroupView, "GET", f"/iscsi/target-groups/{part(name)}")

    def get_target_group_client_config(self, name: str) -> InitiatorConfig:
        """Settings and commands for a Linux client of the group (InitiatorConfig)."""
        return self.ask(InitiatorConfig, "GET", f"/iscsi/target-groups/{part(name)}/client-config")

    def add_target_group_nodes(
        self,
        name: str,
        *,
        nodes: Sequence[str],
        portals: Mapping[str, Sequence[str]] | None = None,
        **terms: Unpack[Terms],
    ) -> Outcome:
        """More nodes that serve it."""
        return self.ask(
            Outcome,
            "POST",
            f"/iscsi/target-groups/{part(name)}/nodes",
            body=given(nodes=nodes, portals=portals),
            **terms,
        )

    def start_target_group(self, name: str, **terms: Unpack[Terms]) -> Outcome:
        """It serves its volumes."""
        return self.ask(Outcome, "POST", f"/iscsi/target-groups/{part(name)}/start", **terms)

    def stop_target_group(self, name: str, **terms: Unpack[Terms]) -> Outcome:
        """All its volumes become unreachable for their clients."""
        return self.ask(Outcome, "POST", f"/iscsi/target-groups/{part(name)}/stop", **terms)

    def delete_target_group(self, name: str, **terms: Unpack[Terms]) -> Outcome:
        """Only one without volumes."""
        return self.ask(Outcome, "DELETE", f"/iscsi/target-groups/{part(name)}", **terms)

    def change_target_group_acl(
        self,
        name: str,
        *,
        add: Sequence[str] | None = None,
        remove: Sequence[str] | None = None,
        **terms: Unpack[Terms],
    ) -> Outcome:
        """Who may log in."""
        return self.ask(
            Outcome, "POST", f"/iscsi/target-groups/{part(name)}/acl", body=given(add=add, remove=remove), **terms
        )

    def set_target_group_chap(
        self, name: str, *, chap: Mapping[str, Any], mutual: Mapping[str, Any] | None = None, **terms: Unpack[Terms]
    ) -> Outcome:
        """What initiators must prove to know; `mutual`: what the target proves to know."""
        return self.ask(
            Outcome, "PUT", f"/iscsi/target-groups/{part(name)}/chap", body=given(chap=chap, mutual=mutual), **terms
        )

    def clear_target_group_chap(self, name: str, **terms: Unpack[Terms]) -> Outcome:
        """Initiators are let in by their names alone."""
        return self.ask(Outcome, "DELETE", f"/iscsi/target-groups/{part(name)}/chap", **terms)

    def create_iscsi_volume(
        self, *, name: str, size_bytes: int | None = None, device: str | None = None, **terms: Unpack[Tried]
    ) -> Outcome:
        """A new file of so many bytes, or (by administrators) a block device that all nodes see."""
        return self.ask(
            Outcome, "POST", "/iscsi/volumes", body=given(name=name, size_bytes=size_bytes, device=device), **terms
        )

    def get_iscsi_volume(self, name: str) -> VolumeView:
        """One volume."""
        return self.ask(VolumeView, "GET", f"/iscsi/volumes/{part(name)}")

    def attach_iscsi_volume(self, name: str, *, group: str, lun: int | None = None, **terms: Unpack[Terms]) -> Outcome:
        """Make it a logical unit of a target group."""
        return self.ask(
            Outcome, "POST", f"/iscsi/volumes/{part(name)}/attach", body=given(group=group, lun=lun), **terms
        )

    def detach_iscsi_volume(self, name: str, *, force: bool | None = None, **terms: Unpack[Terms]) -> Outcome:
        """`force`: also while initiators are logged in to its group."""
        return self.ask(Outcome, "POST", f"/iscsi/volumes/{part(name)}/detach", query=given(force=force), **terms)

    def resize_iscsi_volume(self, name: str, *, size_bytes: int, **terms: Unpack[Terms]) -> Outcome:
        """Larger at any time; smaller while it is detached, and never below what was written."""
        return self.ask(Outcome, "PUT", f"/iscsi/volumes/{part(name)}/size", body=given(size_bytes=size_bytes), **terms)

    def delete_iscsi_volume(self, name: str, *, yes: bool | None = None, **terms: Unpack[Terms]) -> Outcome:
        """With its data. Without `yes` a refusal that says what would be lost."""
        return self.ask(Outcome, "DELETE", f"/iscsi/volumes/{part(name)}", query=given(yes=yes), **terms)
