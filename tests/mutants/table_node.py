"""Mistakes on the node: the agent's deadline, its session, what it starts and stops, and the guard."""

from mutants.mutant import mutant

RENEWAL = "agent/renewal.py"
SESSION = "agent/session.py"
DUTIES = "agent/duties.py"
WORKER = "agent/worker.py"
EXECUTOR = "agent/executor.py"
VALIDITY = "core/validity.py"
GUARD = "fencing/guard/core.py"

DECLARED = "return await self._guard.set_idle() or not"
BELIEVED = "return await self._guard.set_idle() is not None or not"

NODE_MUTANTS = (
    # --- the deadline
    mutant(
        "deadline-from-reply",
        "the deadline is counted from the reply and not from before the beat was sent",
        "DEADLINE, INV-1",
        (RENEWAL, "return Attempt(Outcome.COMMITTED, sent_at)", "return Attempt(Outcome.COMMITTED, self._clock.now())"),
        by=("proofs/slow-replies-before-a-cut",),
    ),
    mutant(
        "unknown-is-committed",
        "a beat of unknown outcome is taken for committed",
        "DEADLINE, INV-2",
        (RENEWAL, "return Attempt(Outcome.UNKNOWN, sent_at)", "return Attempt(Outcome.COMMITTED, sent_at)"),
        by=("network/cut-off-node-stops-cleanly",),
    ),
    mutant(
        "late-success-extends",
        "a beat that turns out to be committed when it is read again extends the deadline from that moment",
        "DEADLINE, INV-1",
        (
            RENEWAL,
            "                await self.read(joining=False)\n",
            "                _, found = await self.read(joining=False)\n"
            "                if found and found.session == self._identity.session and found.sequence > self._sequence:\n"
            "                    self._sequence = found.sequence\n"
            "                    return Attempt(Outcome.COMMITTED, self._clock.now())\n",
        ),
        by=("proofs/answers-get-lost-before-a-cut",),
    ),
    mutant(
        "deadline-ignored",
        "the agent does not look at its deadline",
        "DEADLINE, INV-1",
        (VALIDITY, "return now < self.deadline", "return True"),
        (SESSION, "if left <= 0 and self.state is SessionState.ACTIVE:", "if False:"),
        by=("network/cut-off-node-stops-cleanly",),
    ),
    mutant(
        "deadline-doubled",
        "the validity is counted twice",
        "DEADLINE, INV-1",
        (VALIDITY, "max(self.deadline, sent_at + self.timing.F)", "max(self.deadline, sent_at + 2 * self.timing.F)"),
        by=("network/cut-off-node-stops-cleanly",),
    ),
    mutant(
        "start-without-recheck",
        "whether a start is allowed is not asked again right before it takes effect",
        "DEADLINE, INV-1",
        (
            DUTIES,
            "return fresh and self.order() is Order.RUN and (not self.strict or self._context.allowed())",
            "return True",
        ),
        by=("proofs/restarts-around-the-deadline",),
    ),
    # --- membership
    mutant(
        "beat-ignores-fence",
        "the beat does not compare the fence record, so a claimed node goes on",
        "INV-3",
        (
            RENEWAL,
            "[Compare(fence_key, self.fence_revision), Compare(beat_key, self._beat_revision)]",
            "[Compare(beat_key, self._beat_revision)]",
        ),
        by=("proofs/returns-with-an-old-view",),
    ),
    mutant(
        "claim-goes-unnoticed",
        "a failed comparison of the fence record is taken for an unknown outcome",
        "LIVE-1",
        (RENEWAL, "return Outcome.CLAIMED", "return Outcome.UNKNOWN"),
        by=("network/healed-after-the-claim",),
    ),
    mutant(
        "old-placement",
        "a placement counts whatever fence epoch it carries",
        "INV-1, INV-3",
        (EXECUTOR, "if (placement.node, placement.fence_epoch) == me:", "if placement.node == me[0]:"),
        by=("proofs/returns-with-an-old-view",),
    ),
    mutant(
        "restart-says-joining",
        "an agent that restarts says `joining` though instances run",
        "INV-2",
        (
            SESSION,
            "adopting = previous is not None and live and previous.boot_id == self._identity.boot_id",
            "adopting = False",
        ),
        (SESSION, "if not await self._workload.stop_strict(0.0):", "if False:"),
        (SESSION, DECLARED, BELIEVED),
        by=("proofs/agent-is-away-for-a-while",),
    ),
    mutant(
        "clone-joins",
        "another machine may join under the identity of an active node",
        "INV-1",
        (SESSION, "return previous.machine_id == mine or (not previous.machine_id and known)", "return True"),
        by=("proofs/clone-of-an-active-node",),
    ),
    # --- stopping and leaving
    mutant(
        "release-before-stops",
        "the release is written before the stops",
        "INV-2",
        (
            SESSION,
            "            self._begin_stops(everything=True)\n        self.hurry()",
            "            self._event(SessionEvent.STOPS_CONFIRMED)\n        self.hurry()",
        ),
        by=("shutdown-reboot/failover-shutdown",),
    ),
    mutant(
        "stops-assumed",
        "stops that could not be confirmed are taken for confirmed, whatever the guard says",
        "INV-2",
        (SESSION, "if await stop(grace):", "if await stop(grace) is not None:"),
        (SESSION, DECLARED, BELIEVED),
        by=("proofs/stop-fails-in-a-shutdown",),
    ),
    mutant(
        "idle-while-running",
        "the agent tells the guard `idle` while something runs, and the guard believes it",
        "INV-2",
        (SESSION, "if await stop(grace):", "if await stop(grace) is not None:"),
        (
            GUARD,
            "*(t(x, e.IDLE_REFUSED, x, populated, refused=True) for x in State),",
            "*(t(x, e.IDLE_REFUSED, s.IDLE, populated) for x in State),",
        ),
        by=("proofs/failed-stops-at-the-deadline",),
    ),
    mutant(
        "failed-stop-is-stopped",
        "a stop that failed is reported as stopped",
        "INV-1",
        (
            WORKER,
            "self._say(InstanceState.FAILED, detail=str(error))\n            pause = RETRY_S[min(self._stop",
            "self._say(InstanceState.STOPPED, detail=str(error))\n            pause = RETRY_S[min(self._stop",
        ),
        by=("failing-stops/fails-once",),
    ),
    mutant(
        "stopped-before-the-stop",
        "a stop is reported as done before it was tried",
        "INV-1",
        (DUTIES, "self._say(InstanceState.STOPPING)", "self._say(InstanceState.STOPPED)"),
        by=("proofs/stop-hangs-in-a-move",),
    ),
    # --- the guard
    mutant(
        "pets-on-events",
        "the guard pets while it is in contact and not while the deadline lies ahead",
        "INV-2",
        (
            GUARD,
            "return gate.state in (State.ARMED, State.UNATTENDED, State.ORPHANED) and now < gate.end",
            "return gate.state is not State.WAITING",
        ),
        by=("proofs/nothing-but-the-watchdog-ends-it",),
    ),
    mutant(
        "gone-is-idle",
        "an agent that vanishes is taken for an idle node",
        "INV-2",
        (
            GUARD,
            't(s.ARMED, e.GONE, s.UNATTENDED, "the agent vanished; killing',
            't(s.ARMED, e.GONE, s.IDLE, "the agent vanished; killing',
        ),
        by=("node-failures/agent-stays-away-without-fencing",),
    ),
    mutant(
        "guard-has-a-reserve",
        "the guard adds a reserve to the deadline it is told",
        "DEADLINE, INV-2",
        (
            GUARD,
            "deadline=max(gate.deadline, deadline), grace=grace",
            "deadline=max(gate.deadline, deadline + 3.0), grace=grace",
        ),
        by=("proofs/agent-dies-for-good",),
    ),
    mutant(
        "grace-without-end",
        "the end of the grace changes nothing: no kill, and petting goes on",
        "INV-2",
        (
            GUARD,
            "return apply(gate, Event.GRACE_OVER if now >= gate.end else Event.DEADLINE_REACHED, now)",
            "return apply(gate, Event.DEADLINE_REACHED, now)",
        ),
        (GUARD, "State.ORPHANED) and now < gate.end", "State.ORPHANED)"),
        by=("failing-stops/hangs-at-the-deadline",),
    ),
    mutant(
        "idle-is-not-petted",
        "an idle node's watchdog is petted only before the deadline",
        "INV-5",
        (
            GUARD,
            "    if gate.state is State.IDLE:\n        return True",
            "    if gate.state is State.IDLE:\n        return now < gate.end",
        ),
        by=("network/cut-off-node-stops-cleanly",),
    ),
)
