"""A node goes down on purpose: what becomes of its instances (policy of the cluster, kind of the shutdown)."""

from enum import StrEnum

from holdfast.core.model import ShutdownPolicy


class ShutdownKind(StrEnum):
    """Why the agent is asked to end."""

    SHUTDOWN = "shutdown"
    """The machine is switched off, or only the agent's service is stopped: nobody knows for how long."""
    REBOOT = "reboot"
    """The machine will be back in minutes."""


def policy_for(policy: ShutdownPolicy, kind: ShutdownKind) -> ShutdownPolicy:
    """What is done this time, the word for `Beat.leaving`: migrate, failover or freeze."""
    if policy is not ShutdownPolicy.CONDITIONAL:
        return policy
    return ShutdownPolicy.FREEZE if kind is ShutdownKind.REBOOT else ShutdownPolicy.FAILOVER
