"""The contract of /api/v1, one line for each route: its operation's name, and what it answers.

The name is the `operationId` and the name of the client's method (holdfast.client). tests/unit/test_api_openapi.py demands a
line for each route of the application.
"""

from typing import Any

from holdfast.api import answers
from holdfast.api.answers import Said
from holdfast.api.backup_view import BackupUserView
from holdfast.api.history import EventLine
from holdfast.api.operations import backup_picture, iscsi_picture, planning, receivers, s3_picture, trust
from holdfast.api.operations.fence_test import DeviceTest
from holdfast.api.operations.terms import Outcome
from holdfast.api.paging import Page
from holdfast.api.s3_view import S3UserView
from holdfast.api.status import ClusterStatus, InstanceView, NodeStatus, ServiceStatus
from holdfast.api.task_model import TaskView
from holdfast.core.alarm_model import Alarm
from holdfast.core.explain import Explanation
from holdfast.core.history import Incident
from holdfast.services.backup_gateway.client_config import ClientConfig as BackupClientConfig
from holdfast.services.iscsi.client_config import InitiatorConfig

STREAM = "stream"
"""Server-sent events."""

TABLE: dict[str, tuple[str, Any]] = {
    # --- session ---
    "POST /login": ("login", answers.LoggedIn),
    "POST /logout": ("logout", Said),
    "GET /session": ("get_session", answers.SessionAnswer),
    "GET /me": ("get_me", answers.Me),
    "GET /me/sessions": ("list_my_sessions", list[answers.SessionLine]),
    "DELETE /me/sessions": ("end_my_other_sessions", Outcome),
    "DELETE /me/sessions/{session_id}": ("end_my_session", Outcome),
    # --- accounts ---
    "PUT /users/{name}/password": ("set_password", Outcome),
    "GET /users": ("list_users", list[answers.UserLine]),
    "GET /users/{name}": ("get_user", answers.UserAnswer),
    "POST /users": ("create_user", Outcome),
    "PUT /users/{name}": ("change_user", Outcome),
    "DELETE /users/{name}": ("delete_user", Outcome),
    "DELETE /users/{name}/sessions": ("end_user_sessions", Outcome),
    "POST /users/{name}/unlock": ("unlock_user", Outcome),
    "GET /tokens": ("list_tokens", list[answers.TokenLine]),
    "POST /tokens": ("create_token", Outcome),
    "DELETE /tokens/{token_id}": ("revoke_token", Outcome),
    "GET /audit": ("list_audit", Page[answers.AuditLine]),
    # --- cluster, nodes ---
    "GET /status": ("get_status", ClusterStatus),
    "GET /stream": ("stream", STREAM),
    "PUT /cluster": ("update_cluster", Outcome),
    "PUT /cluster/shutdown-policy": ("set_shutdown_policy", Outcome),
    "GET /nodes": ("list_nodes", tuple[NodeStatus, ...]),
    "GET /nodes/{node_id}": ("get_node", NodeStatus),
    "POST /nodes": ("add_node", Outcome),
    "PUT /nodes/{node_id}": ("change_node", Outcome),
    "DELETE /nodes/{node_id}": ("remove_node", Outcome),
    "PUT /nodes/{node_id}/fence-devices": ("set_fence_devices", Outcome),
    "POST /nodes/{node_id}/fence-test": ("test_fence_devices", list[DeviceTest]),
    "POST /nodes/{node_id}/confirm-dead": ("confirm_dead", Outcome),
    "GET /nodes/{node_id}/maintenance/precheck": ("precheck_maintenance", planning.Precheck),
    "POST /nodes/{node_id}/maintenance": ("enter_maintenance", Outcome),
    "DELETE /nodes/{node_id}/maintenance": ("exit_maintenance", Outcome),
    "POST /nodes/{node_id}/return": ("return_node", Outcome),
    # --- trust ---
    "POST /nodes/{node_id}/tokens": ("create_join_token", Outcome),
    "GET /tokens/join": ("list_join_tokens", Page[trust.TokenView]),
    "DELETE /tokens/join/{token_id}": ("revoke_join_token", Outcome),
    "GET /join/authority": ("get_authority", answers.Authority),
    "POST /join": ("join", answers.Joined),
    "GET /certificates": ("get_certificates", trust.TrustView),
    "POST /certificates/renew": ("renew_certificates", Outcome),
    "POST /certificates/authority": ("rotate_authority", Outcome),
    # --- management plane ---
    "GET /ha": ("get_ha", answers.HaAnswer),
    "POST /ha": ("enable_ha", Outcome),
    "PUT /ha": ("update_ha", Outcome),
    "DELETE /ha": ("disable_ha", Outcome),
    "POST /ha/pause": ("pause_ha", Outcome),
    "DELETE /ha/pause": ("resume_ha", Outcome),
    # --- services, instances, rules ---
    "GET /services": ("list_services", tuple[ServiceStatus, ...]),
    "GET /services/{kind}/{name}": ("get_service", answers.ServiceAnswer),
    "POST /services/{kind}/{name}/start": ("start_service", Outcome),
    "POST /services/{kind}/{name}/stop": ("stop_service", Outcome),
    "PUT /services/{kind}/{name}/state": ("set_service_state", Outcome),
    "GET /instances": ("list_instances", tuple[InstanceView, ...]),
    "GET /instances/{instance_id}": ("get_instance", InstanceView),
    "POST /instances/{instance_id}/move": ("move_instance", Outcome),
    "POST /instances/{instance_id}/lock": ("lock_instance", Outcome),
    "DELETE /instances/{instance_id}/lock": ("unlock_instance", Outcome),
    "GET /rules": ("list_rules", list[answers.RuleAnswer]),
    "GET /rules/{name}": ("get_rule", answers.RuleAnswer),
    "POST /rules": ("create_rule", Outcome),
    "DELETE /rules/{name}": ("delete_rule", Outcome),
    # --- history ---
    "GET /incidents": ("list_incidents", Page[Incident]),
    "GET /incidents/{incident_id}": ("get_incident", Incident),
    "GET /events": ("list_events", Page[EventLine]),
    "GET /tasks": ("list_tasks", Page[TaskView]),
    "GET /tasks/{task_id}": ("get_task", TaskView),
    "POST /tasks/{task_id}/cancel": ("cancel_task", Outcome),
    # --- planner ---
    "GET /planner/explain/{instance_id}": ("explain", Explanation),
    "GET /planner/what-if": ("what_if", planning.WhatIf),
    "GET /planner/guarantee": ("get_guarantee", planning.Assurance),
    "GET /planner/rebalance": ("propose_rebalance", planning.Evening),
    "POST /planner/rebalance": ("rebalance", Outcome),
    # --- alarms, drills ---
    "GET /alarms": ("list_alarms", Page[Alarm]),
    "GET /alarms/{alarm_id}": ("get_alarm", Alarm),
    "POST /alarms/{alarm_id}/acknowledge": ("acknowledge_alarm", Outcome),
    "GET /alarms/receivers": ("list_receivers", Page[receivers.ReceiverView]),
    "POST /alarms/receivers": ("add_receiver", Outcome),
    "DELETE /alarms/receivers/{name}": ("remove_receiver", Outcome),
    "POST /alarms/receivers/{name}/test": ("test_receiver", Said),
    "GET /drills": ("list_drills", Page[answers.DrillShown]),
    "GET /drills/{drill_id}": ("get_drill", answers.DrillShown),
    "POST /drills": ("begin_drill", Outcome),
    # --- virtual machines ---
    "GET /compute": ("get_compute", answers.ComputeAnswer),
    "POST /compute": ("create_compute", Outcome),
    "PUT /compute": ("change_compute", Outcome),
    "POST /compute/ha": ("enable_compute_ha", Outcome),
    "DELETE /compute/ha": ("disable_compute_ha", Outcome),
    "GET /vms": ("list_vms", answers.VmsAnswer),
    "GET /vms/{name}": ("get_vm", InstanceView),
    "POST /vms": ("create_vm", Outcome),
    "POST /vms/import": ("import_vm", Outcome),
    "PUT /vms/{name}": ("change_vm", Outcome),
    "DELETE /vms/{name}": ("delete_vm", Outcome),
    "POST /vms/disks/delete": ("delete_vm_disks", Outcome),
    "GET /vms/{name}/console": ("get_vm_console", answers.ConsoleAnswer),
    # --- NFS ---
    "GET /nfs": ("get_nfs", answers.NfsAnswer),
    "GET /nfs/volumes/{name}": ("get_nfs_volume", InstanceView),
    "POST /nfs/cluster": ("create_nfs_cluster", Outcome),
    "POST /nfs/volumes": ("create_nfs_volume", Outcome),
    "PUT /nfs/volumes/{name}/access": ("set_nfs_volume_access", Outcome),
    "DELETE /nfs/volumes/{name}": ("delete_nfs_volume", Outcome),
    # --- iSCSI ---
    "GET /iscsi": ("get_iscsi", answers.IscsiAnswer),
    "POST /iscsi/target-groups": ("create_target_group", Outcome),
    "GET /iscsi/target-groups/{name}": ("get_target_group", iscsi_picture.GroupView),
    "GET /iscsi/target-groups/{name}/client-config": ("get_target_group_client_config", InitiatorConfig),
    "POST /iscsi/target-groups/{name}/nodes": ("add_target_group_nodes", Outcome),
    "POST /iscsi/target-groups/{name}/start": ("start_target_group", Outcome),
    "POST /iscsi/target-groups/{name}/stop": ("stop_target_group", Outcome),
    "DELETE /iscsi/target-groups/{name}": ("delete_target_group", Outcome),
    "POST /iscsi/target-groups/{name}/acl": ("change_target_group_acl", Outcome),
    "PUT /iscsi/target-groups/{name}/chap": ("set_target_group_chap", Outcome),
    "DELETE /iscsi/target-groups/{name}/chap": ("clear_target_group_chap", Outcome),
    "POST /iscsi/volumes": ("create_iscsi_volume", Outcome),
    "GET /iscsi/volumes/{name}": ("get_iscsi_volume", iscsi_picture.VolumeView),
    "POST /iscsi/volumes/{name}/attach": ("attach_iscsi_volume", Outcome),
    "POST /iscsi/volumes/{name}/detach": ("detach_iscsi_volume", Outcome),
    "PUT /iscsi/volumes/{name}/size": ("resize_iscsi_volume", Outcome),
    "DELETE /iscsi/volumes/{name}": ("delete_iscsi_volume", Outcome),
    # --- S3 ---
    "GET /s3": ("list_s3_clusters", list[s3_picture.Line]),
    "POST /s3/clusters": ("create_s3_cluster", Outcome),
    "GET /s3/clusters/{name}": ("get_s3_cluster", s3_picture.Picture),
    "DELETE /s3/clusters/{name}": ("delete_s3_cluster", Outcome),
    "POST /s3/clusters/{name}/rebalance": ("rebalance_s3_cluster", Outcome),
    "POST /s3/clusters/{name}/nodes": ("add_s3_nodes", Outcome),
    "DELETE /s3/clusters/{name}/nodes/{node}": ("release_s3_node", Outcome),
    "GET /s3/clusters/{name}/users": ("list_s3_users", list[S3UserView]),
    "POST /s3/clusters/{name}/users": ("create_s3_user", Outcome),
    "POST /s3/clusters/{name}/users/{user}/rotate": ("rotate_s3_user", Outcome),
    "POST /s3/clusters/{name}/users/{user}/enable": ("enable_s3_user", Outcome),
    "POST /s3/clusters/{name}/users/{user}/disable": ("disable_s3_user", Outcome),
    "DELETE /s3/clusters/{name}/users/{user}": ("delete_s3_user", Outcome),
    # --- backup gateways ---
    "GET /backup": ("list_backup_clusters", list[backup_picture.Line]),
    "POST /backup/clusters": ("create_backup_cluster", Outcome),
    "GET /backup/clusters/{name}": ("get_backup_cluster", backup_picture.Picture),
    "PATCH /backup/clusters/{name}": ("update_backup_cluster", Outcome),
    "DELETE /backup/clusters/{name}": ("delete_backup_cluster", Outcome),
    "POST /backup/clusters/{name}/nodes": ("add_backup_nodes", Outcome),
    "DELETE /backup/clusters/{name}/nodes/{node}": ("release_backup_node", Outcome),
    "GET /backup/clusters/{name}/users": ("list_backup_users", list[BackupUserView]),
    "POST /backup/clusters/{name}/users": ("create_backup_user", Outcome),
    "POST /backup/clusters/{name}/users/{user}/rotate": ("rotate_backup_user", Outcome),
    "PATCH /backup/clusters/{name}/users/{user}": ("change_backup_user", Outcome),
    "DELETE /backup/clusters/{name}/users/{user}": ("delete_backup_user", Outcome),
    "GET /backup/clusters/{name}/users/{user}/client-config": ("get_backup_client_config", BackupClientConfig),
    # --- DNS ---
    "GET /dns": ("get_dns", answers.DnsAnswer),
    "GET /dns/test": ("test_dns", dict[str, list[answers.DnsFinding]]),
    "POST /dns/zones": ("create_dns_zone", Outcome),
    "DELETE /dns/zones/{apex}": ("delete_dns_zone", Outcome),
    "POST /dns/update-targets": ("add_dns_update_target", Outcome),
    "DELETE /dns/update-targets/{name}": ("remove_dns_update_target", Outcome),
    "POST /dns/secondaries": ("add_dns_secondary", Outcome),
    "DELETE /dns/secondaries/{name}": ("remove_dns_secondary", Outcome),
    "POST /dns/names": ("add_dns_name", Outcome),
    "DELETE /dns/names/{name}": ("remove_dns_name", Outcome),
}
