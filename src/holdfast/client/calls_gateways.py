"""S3, backup gateways and DNS. Written by scripts/make-client."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from holdfast.api.answers import DnsAnswer, DnsFinding
from holdfast.api.backup_view import BackupUserView
from holdfast.api.operations.backup_picture import Line as BackupPictureLine
from holdfast.api.operations.backup_picture import Picture as BackupPicturePicture
from holdfast.api.operations.s3_picture import Line as S3PictureLine
from holdfast.api.operations.s3_picture import Picture as S3PicturePicture
from holdfast.api.operations.terms import Outcome
from holdfast.api.s3_view import S3UserView
from holdfast.client.calls import Calls, Terms, Tried, given
from holdfast.client.paths import part
from holdfast.services.backup_gateway.client_config import ClientConfig


class GatewaysCalls(Calls):
    """S3, backup gateways and DNS."""

    def list_s3_clusters(self) -> list[S3PictureLine]:
        """From memory, so it works without the store, as all that only reads here."""
        return self.ask(list[S3PictureLine], "GET", "/s3")

    def create_s3_cluster(
        self,
        *,
        name: str,
        nodes: Sequence[str],
        domain: str,
        gateway_addresses: Sequence[str] | None = None,
        server_addresses: Sequence[str] | None = None,
        network: str | None = None,
        server_network: str | None = None,
        name_servers: int | None = None,
        object_servers: int | None = None,
        region: str | None = None,
        force: bool | None = None,
        **terms: Unpack[Tried],
    ) -> Outcome:
        """Name servers, object servers and gateways on these nodes."""
        return self.ask(
            Outcome,
            "POST",
            "/s3/clusters",
            body=given(
                name=name,
                nodes=nodes,
                domain=domain,
                gateway_addresses=gateway_addresses,
                server_addresses=server_addresses,
                network=network,
                server_network=server_network,
                name_servers=name_servers,
                object_servers=object_servers,
                region=region,
                force=force,
            ),
            **terms,
        )

    def get_s3_cluster(self, name: str) -> S3PicturePicture:
        """One S3 cluster with its servers, gateways and fill."""
        return self.ask(S3PicturePicture, "GET", f"/s3/clusters/{part(name)}")

    def delete_s3_cluster(self, name: str, *, yes: bool | None = None, **terms: Unpack[Terms]) -> Outcome:
        """Without `yes` a refusal that says what would be lost."""
        return self.ask(Outcome, "DELETE", f"/s3/clusters/{part(name)}", query=given(yes=yes), **terms)

    def rebalance_s3_cluster(
        self, name: str, *, limit: int | None = None, force: bool | None = None, **terms: Unpack[Terms]
    ) -> Outcome:
        """Even out how many of its servers each node carries."""
        return self.ask(
            Outcome, "POST", f"/s3/clusters/{part(name)}/rebalance", body=given(limit=limit, force=force), **terms
        )

    def add_s3_nodes(
        self,
        name: str,
        *,
        nodes: Sequence[str],
        gateway_addresses: Sequence[str] | None = None,
        server_addresses: Sequence[str] | None = None,
        name_servers: int | None = None,
        object_servers: int | None = None,
        force: bool | None = None,
        **terms: Unpack[Terms],
    ) -> Outcome:
        """More nodes, and more servers if wished; data move to them by themselves."""
        return self.ask(
            Outcome,
            "POST",
            f"/s3/clusters/{part(name)}/nodes",
            body=given(
                nodes=nodes,
                gateway_addresses=gateway_addresses,
                server_addresses=server_addresses,
                name_servers=name_servers,
                object_servers=object_servers,
                force=force,
            ),
            **terms,
        )

    def release_s3_node(self, name: str, node: str, *, force: bool | None = None, **terms: Unpack[Terms]) -> Outcome:
        """Its servers move to the others."""
        return self.ask(
            Outcome, "DELETE", f"/s3/clusters/{part(name)}/nodes/{part(node)}", query=given(force=force), **terms
        )

    def list_s3_users(self, name: str) -> list[S3UserView]:
        """Users with their access keys, without the secrets."""
        return self.ask(list[S3UserView], "GET", f"/s3/clusters/{part(name)}/users")

    def create_s3_user(self, cluster: str, *, name: str, **terms: Unpack[Terms]) -> Outcome:
        """`data` holds `access_key` and `secret_key`; the latter is never shown again."""
        return self.ask(Outcome, "POST", f"/s3/clusters/{part(cluster)}/users", body=given(name=name), **terms)

    def rotate_s3_user(self, name: str, user: str, *, keep: bool | None = None, **terms: Unpack[Terms]) -> Outcome:
        """The same for a new key of an existing user."""
        return self.ask(
            Outcome, "POST", f"/s3/clusters/{part(name)}/users/{part(user)}/rotate", body=given(keep=keep), **terms
        )

    def enable_s3_user(self, name: str, user: str, **terms: Unpack[Terms]) -> Outcome:
        """The user's keys work again."""
        return self.ask(Outcome, "POST", f"/s3/clusters/{part(name)}/users/{part(user)}/enable", **terms)

    def disable_s3_user(self, name: str, user: str, **terms: Unpack[Terms]) -> Outcome:
        """The user's keys open nothing until it is enabled."""
        return self.ask(Outcome, "POST", f"/s3/clusters/{part(name)}/users/{part(user)}/disable", **terms)

    def delete_s3_user(self, name: str, user: str, *, yes: bool | None = None, **terms: Unpack[Terms]) -> Outcome:
        """Without `yes` a refusal that says what would become of its objects."""
        return self.ask(
            Outcome, "DELETE", f"/s3/clusters/{part(name)}/users/{part(user)}", query=given(yes=yes), **terms
        )

    def list_backup_clusters(self) -> list[BackupPictureLine]:
        """From memory, so it works without the store, as all that only reads here."""
        return self.ask(list[BackupPictureLine], "GET", "/backup")

    def create_backup_cluster(
        self,
        *,
        name: str,
        nodes: Sequence[str],
        domain: str,
        backend: str,
        addresses: Sequence[str] | None = None,
        credentials: Mapping[str, str] | None = None,
        network: str | None = None,
        port: int | None = None,
        append_only: bool | None = None,
        certificate: str | None = None,
        certificate_key: str | None = None,
        **terms: Unpack[Tried],
    ) -> Outcome:
        """The back-end is tried out first, from the node that answers."""
        return self.ask(
            Outcome,
            "POST",
            "/backup/clusters",
            body=given(
                name=name,
                nodes=nodes,
                domain=domain,
                addresses=addresses,
                backend=backend,
                credentials=credentials,
                network=network,
                port=port,
                append_only=append_only,
                certificate=certificate,
                certificate_key=certificate_key,
            ),
            **terms,
        )

    def get_backup_cluster(self, name: str) -> BackupPicturePicture:
        """One backup cluster with its gateways."""
        return self.ask(BackupPicturePicture, "GET", f"/backup/clusters/{part(name)}")

    def update_backup_cluster(
        self,
        name: str,
        *,
        append_only: bool | None = None,
        credentials: Mapping[str, str] | None = None,
        certificate: str | None = None,
        certificate_key: str | None = None,
        **terms: Unpack[Terms],
    ) -> Outcome:
        """What opens the back-end, the certificate, append-only; what is left out stays."""
        return self.ask(
            Outcome,
            "PATCH",
            f"/backup/clusters/{part(name)}",
            body=given(
                append_only=append_only,
                credentials=credentials,
                certificate=certificate,
                certificate_key=certificate_key,
            ),
            **terms,
        )

    def delete_backup_cluster(self, name: str, *, yes: bool | None = None, **terms: Unpack[Terms]) -> Outcome:
        """Without `yes` a refusal that says what would be lost."""
        return self.ask(Outcome, "DELETE", f"/backup/clusters/{part(name)}", query=given(yes=yes), **terms)

    def add_backup_nodes(
        self, name: str, *, nodes: Sequence[str], addresses: Sequence[str] | None = None, **terms: Unpack[Terms]
    ) -> Outcome:
        """More nodes get a gateway each."""
        return self.ask(
            Outcome,
            "POST",
            f"/backup/clusters/{part(name)}/nodes",
            body=given(nodes=nodes, addresses=addresses),
            **terms,
        )

    def release_backup_node(self, name: str, node: str, **terms: Unpack[Terms]) -> Outcome:
        """Its gateway ends; clients find the others."""
        return self.ask(Outcome, "DELETE", f"/backup/clusters/{part(name)}/nodes/{part(node)}", **terms)

    def list_backup_users(self, name: str) -> list[BackupUserView]:
        """Users, without their passwords."""
        return self.ask(list[BackupUserView], "GET", f"/backup/clusters/{part(name)}/users")

    def create_backup_user(
        self, cluster: str, *, name: str, append_only: bool | None = None, **terms: Unpack[Terms]
    ) -> Outcome:
        """`data.password` is shown only now."""
        return self.ask(
            Outcome,
            "POST",
            f"/backup/clusters/{part(cluster)}/users",
            body=given(name=name, append_only=append_only),
            **terms,
        )

    def rotate_backup_user(self, name: str, user: str, **terms: Unpack[Terms]) -> Outcome:
        """A new password in `data.password`, shown only now; the former one opens nothing."""
        return self.ask(Outcome, "POST", f"/backup/clusters/{part(name)}/users/{part(user)}/rotate", **terms)

    def change_backup_user(self, name: str, user: str, *, append_only: bool, **terms: Unpack[Terms]) -> Outcome:
        """Whether it may only append."""
        return self.ask(
            Outcome,
            "PATCH",
            f"/backup/clusters/{part(name)}/users/{part(user)}",
            body=given(append_only=append_only),
            **terms,
        )

    def delete_backup_user(self, name: str, user: str, **terms: Unpack[Terms]) -> Outcome:
        """It opens nothing from now on; its repositories stay."""
        return self.ask(Outcome, "DELETE", f"/backup/clusters/{part(name)}/users/{part(user)}", **terms)

    def get_backup_client_config(self, name: str, user: str) -> ClientConfig:
        """What a client of this user sets (ClientConfig). The password is not in it: nobody knows it but the user."""
        return self.ask(ClientConfig, "GET", f"/backup/clusters/{part(name)}/users/{part(user)}/client-config")

    def get_dns(self) -> DnsAnswer:
        """What is published, and why each address is in or out; from memory, so it works without the store."""
        return self.ask(DnsAnswer, "GET", "/dns")

    def test_dns(self, *, resolver: str | None = None) -> dict[str, list[DnsFinding]]:
        """What each name server and the world answer, zone by zone (Finding). `resolver`: the address of one to ask."""
        return self.ask(dict[str, list[DnsFinding]], "GET", "/dns/test", query=given(resolver=resolver))

    def create_dns_zone(
        self,
        *,
        apex: str,
        network: str | None = None,
        hostmaster: str | None = None,
        ttl_s: int | None = None,
        minimum_s: int | None = None,
        servers: Sequence[str] | None = None,
        **terms: Unpack[Tried],
    ) -> Outcome:
        """A zone that the management nodes answer for."""
        return self.ask(
            Outcome,
            "POST",
            "/dns/zones",
            body=given(
                apex=apex, network=network, hostmaster=hostmaster, ttl_s=ttl_s, minimum_s=minimum_s, servers=servers
            ),
            **terms,
        )

    def delete_dns_zone(self, apex: str, **terms: Unpack[Terms]) -> Outcome:
        """Nobody answers for it any more."""
        return self.ask(Outcome, "DELETE", f"/dns/zones/{part(apex)}", **terms)

    def add_dns_update_target(
        self,
        *,
        name: str,
        server: str,
        zone: str,
        key: Mapping[str, Any],
        port: int | None = None,
        ttl_s: int | None = None,
        **terms: Unpack[Tried],
    ) -> Outcome:
        """A server that takes RFC 2136 updates signed with the key."""
        return self.ask(
            Outcome,
            "POST",
            "/dns/update-targets",
            body=given(name=name, server=server, port=port, zone=zone, ttl_s=ttl_s, key=key),
            **terms,
        )

    def remove_dns_update_target(self, name: str, **terms: Unpack[Terms]) -> Outcome:
        """It is told of nothing any more."""
        return self.ask(Outcome, "DELETE", f"/dns/update-targets/{part(name)}", **terms)

    def add_dns_secondary(
        self,
        *,
        name: str,
        addresses: Sequence[str],
        notify: Sequence[str] | None = None,
        key: Mapping[str, Any] | None = None,
        **terms: Unpack[Tried],
    ) -> Outcome:
        """A server that may copy the zones."""
        return self.ask(
            Outcome,
            "POST",
            "/dns/secondaries",
            body=given(name=name, addresses=addresses, notify=notify, key=key),
            **terms,
        )

    def remove_dns_secondary(self, name: str, **terms: Unpack[Terms]) -> Outcome:
        """It may copy no zone any more."""
        return self.ask(Outcome, "DELETE", f"/dns/secondaries/{part(name)}", **terms)

    def add_dns_name(self, *, instance: str, name: str, **terms: Unpack[Tried]) -> Outcome:
        """A name for the address of an ordinary instance."""
        return self.ask(Outcome, "POST", "/dns/names", body=given(instance=instance, name=name), **terms)

    def remove_dns_name(self, name: str, *, instance: str, **terms: Unpack[Tried]) -> Outcome:
        """The name leads to the instance no more."""
        return self.ask(Outcome, "DELETE", f"/dns/names/{part(name)}", query=given(instance=instance), **terms)
