"""When the manager may believe that nothing strict runs on a node any more: the proofs P1 to P5 of the design.

Pure. A proof found here is only the permission to try a claim: the claim itself is a store transaction that compares
the manager's term, the beat's mod_revision and the fence record, so that a beat which arrived meanwhile defeats it.
"""

from dataclasses import dataclass

from holdfast.core.model import Beat, BeatPhase, Proof, WatchdogAttestation
from holdfast.core.restored import PATIENCE_S
from holdfast.core.timing import Detection, Timing
from holdfast.core.view import NodeView

POWER_RETRY_S = 3.0
"""Pause between two power-fencing attempts against the same beat."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A proof, and the sentence that explains it."""

    proof: Proof
    text: str


def proof_of_death(node: NodeView, timing: Timing, now: float) -> Evidence | None:
    """The strongest proof at hand that this node runs nothing strict, or None.

    Nothing but these proofs: no lease, no silence without an attested watchdog, no failed connection.
    """
    beat = node.beat
    if beat is None or beat.fence_epoch != node.fence.epoch:
        return None
    if beat.phase is BeatPhase.RELEASED:
        return Evidence(Proof.RELEASED, "its agent released it after every stop was confirmed")
    if node.confirmation is not None and node.confirmation.beat_revision == node.beat_revision:
        return Evidence(Proof.OPERATOR, f"{node.confirmation.operator} confirmed that it is dead")
    if beat.phase is BeatPhase.JOINING:
        return Evidence(Proof.REBOOTED, "the same machine registered anew and runs nothing yet")
    if node.power is not None and node.power.verified_off and node.power.beat_revision == node.beat_revision:
        return Evidence(Proof.POWER_OFF, node.power.text)
    waited = now - node.beat_seen_at
    watchdog = relied_watchdog(beat, timing)
    if watchdog is not None and waited >= timing.T_wait:
        return Evidence(
            Proof.WATCHDOG,
            f"its attested watchdog ({watchdog.identity}, {watchdog.timeout_s} s) must have fired: "
            f"no beat for {waited:.1f} s, T_wait is {timing.T_wait:.0f} s",
        )
    return None


def relied_watchdog(beat: Beat, timing: Timing) -> WatchdogAttestation | None:
    """The watchdog that must end this node within T_wait of its last beat (P4), if there is one. Whatever a paused beat
    attests: a node that acknowledged the pause goes on without the store, so its silence proves nothing."""
    watchdog = beat.watchdog
    return watchdog if watchdog is not None and not beat.paused and watchdog.timeout_s <= timing.W else None


CONTRADICTION_S = Detection().miss_after
"""A beat that arrives so long after the last datagram was sent by a node that still lived: it may have been under way, or be
the last thing before the node died."""


CLEAR_S = Detection().miss_after + Detection().period + 0.1
"""So long after its first missed datagram every other node that vanished with it is missed too, by some living observer."""
MATURE_S = Detection().miss_after + Detection().report_valid + Detection().report_period
"""So long after its first missed datagram a node is suspect at the latest, whichever of its observers died with it: reports
of the dead count until they are too old."""


def wants_power_fencing(node: NodeView, timing: Timing, now: float) -> bool:
    """Should its fence devices be used now? Only for a member that is down, has devices, and has not beaten since it
    became suspect (a beat that came later contradicts the suspicion)."""
    if not node.down(timing, now) or not node.spec.fence_devices or node.power_running:
        return False
    contradicted = node.suspicion is not None and node.beat_arrived_at > node.suspicion.since + CONTRADICTION_S
    if contradicted and not node.overdue(timing, now):
        return False
    if node.unheard and now - node.beat_seen_at < PATIENCE_S:
        return False
    last = node.power
    if last is None or last.beat_revision != node.beat_revision:
        return True
    return not last.verified_off and now - last.ended_at >= POWER_RETRY_S


def waiting_for_proof(node: NodeView, timing: Timing, now: float) -> str:
    """One sentence for people: why a node that is down is not claimed yet, and what can be done."""
    parts: list[str] = ["it has not joined since the store was restored"] if node.unheard else []
    if node.power_running:
        parts.append("power fencing is under way")
    elif node.power is not None and node.power.beat_revision == node.beat_revision and not node.power.verified_off:
        parts.append(f"power fencing failed ({node.power.text}) and is tried again")
    elif not node.spec.fence_devices:
        parts.append("it has no fence device")
    beat = node.beat
    if beat is not None and relied_watchdog(beat, timing) is not None:
        left = max(0.0, timing.T_wait - (now - node.beat_seen_at))
        parts.append(f"its watchdog proves it dead in at most {left:.0f} s")
    else:
        why = "it goes on without the store since HA was paused" if beat and beat.paused else "it attested no watchdog"
        parts.append(f"{why}, so time alone proves nothing")
        parts.append(f"if you know that it is off: holdfast node confirm-dead {node.id}")
    return f"{node.id} is not proven dead: " + "; ".join(parts)
