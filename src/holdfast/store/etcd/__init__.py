"""The store in etcd: an own small client over grpc.aio, because no kept asyncio client exists (docs/dependencies.md)."""

import os

# The C core writes every refused handshake to stderr; this client reports them as errors with advice instead.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from holdfast.store.etcd.admin import EtcdAdmin, MemberInfo, MemberStatus
from holdfast.store.etcd.client import EtcdStore
from holdfast.store.etcd.unit import EtcdMember, etcd_unit, version_warning

__all__ = ["EtcdAdmin", "EtcdMember", "EtcdStore", "MemberInfo", "MemberStatus", "etcd_unit", "version_warning"]
