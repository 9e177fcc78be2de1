"""Mistakes of the manager: proofs, claims, placements, suspicion, power fencing."""

from mutants.mutant import mutant

TIMING = "core/timing.py"
FENCING = "core/fencing.py"
NODES = "core/decide_nodes.py"
INSTANCES = "core/decide_instances.py"
BATCH = "core/batch.py"
VIEW = "core/view.py"
PLACEMENT = "core/placement.py"
CAPACITY = "core/capacity.py"
GROUPS = "core/groups.py"
OBSERVERS = "core/observers.py"
OBSERVE = "manager/observe.py"
COMMIT = "manager/commit.py"
ELECTION = "manager/election.py"
LOOP = "manager/loop.py"
POWER = "manager/power.py"
SEQUENCE = "fencing/power/sequence.py"

BOUND = "return self.F + self.G + 2 * (self.W + self.j)"

LOOK_AGAIN = "        await self._look_again(node.id, beat_revision)\n"
WRITTEN_DOWN = "        if not done.succeeded:\n            raise _beaten_again(node)\n"

MANAGER_MUTANTS = (
    # --- T_wait
    mutant(
        "one-W",
        "the bound counts the watchdog once",
        "INV-2",
        (TIMING, BOUND, "return self.F + self.G + self.W + self.j"),
        by=("model",),
    ),
    mutant(
        "no-grace",
        "the bound leaves out the stop grace",
        "INV-2",
        (TIMING, BOUND, "return self.F + 2 * (self.W + self.j)"),
        by=("model",),
    ),
    mutant(
        "single-jitter",
        "the bound counts the watchdog's lateness once",
        "INV-2",
        (TIMING, BOUND, "return self.F + self.G + 2 * self.W + self.j"),
        by=("model",),
    ),
    mutant(
        "no-drift",
        "T_wait leaves out the clocks' error",
        "INV-2",
        (TIMING, "exact = (1 + self.rho) / (1 - self.rho) * self.B", "exact = self.B"),
        by=("model",),
    ),
    mutant(
        "half-the-wait",
        "P4 after half of T_wait",
        "INV-2",
        (FENCING, "waited >= timing.T_wait", "waited >= timing.T_wait / 2"),
        by=("proofs/nothing-but-the-watchdog-ends-it",),
    ),
    # --- proofs
    mutant(
        "silence-is-proof",
        "P4 without an attested watchdog: silence, or the end of a lease, counts as a proof",
        "INV-2",
        (
            FENCING,
            "return watchdog if watchdog is not None and not beat.paused and watchdog.timeout_s <= timing.W else None",
            'return watchdog or WatchdogAttestation("", "silence", 0)',
        ),
        by=("proofs/silence-without-a-watchdog",),
    ),
    mutant(
        "slow-watchdog-relied-on",
        "P4 though the watchdog's time-out is larger than W",
        "INV-2",
        (FENCING, " and watchdog.timeout_s <= timing.W else None", " else None"),
        by=("proofs/watchdog-with-another-time-out",),
    ),
    mutant(
        "age-of-an-earlier-beat",
        "P4 counts from the first beat that was seen and not from the last",
        "INV-2",
        (
            OBSERVE,
            "seen = self._beat_seen.get(name)\n        if seen is None or seen[0] != node.beat_revision:",
            "seen = self._beat_seen.get(name)\n        if seen is None:",
        ),
        (OBSERVE, "            self._beat_seen[node] = (change.entry.mod_revision, self._clock.now())\n", ""),
        by=("network/cut-off-node-stops-cleanly",),
    ),
    mutant(
        "age-of-an-earlier-term",
        "a new leader believes that its predecessor has been waiting for long",
        "INV-2",
        (
            OBSERVE,
            "        self._beat_seen.clear()\n",
            "        self._beat_seen = {n: (r, self._clock.now() - 1000.0) for n, (r, _) in self._beat_seen.items()}\n",
        ),
        by=("proofs/leader-and-node-lost-together",),
    ),
    mutant(
        "evidence-outlives-beat",
        "a power-off verified for one beat is used against a later one",
        "INV-2",
        (
            FENCING,
            " and node.power.verified_off and node.power.beat_revision == node.beat_revision",
            " and node.power.verified_off",
        ),
        by=("proofs/power-fenced-twice",),
    ),
    mutant(
        "confirmation-outlives-beat",
        "an operator's word about one beat is used against a later one",
        "INV-2",
        (
            FENCING,
            "node.confirmation is not None and node.confirmation.beat_revision == node.beat_revision",
            "node.confirmation is not None",
        ),
        by=("proofs/confirmed-and-back-again",),
    ),
    mutant(
        "active-is-joining",
        "P2 from an active beat: any node that is missed counts as rebooted",
        "INV-2",
        (FENCING, "if beat.phase is BeatPhase.JOINING:", "if beat.phase in (BeatPhase.JOINING, BeatPhase.ACTIVE):"),
        by=("network/cut-off-node-stops-cleanly",),
    ),
    # --- power fencing
    mutant(
        "unknown-is-off",
        "an `unknown` power state is read as off",
        "INV-2",
        (SEQUENCE, 'if first.state == "off" and', 'if first.state != "on" and'),
        (SEQUENCE, 'if second.state != "off":', 'if second.state == "on":'),
        (SEQUENCE, "        if self._contradiction():\n", "        if False:\n"),
        by=("fence-failures/unknown-is-not-off",),
    ),
    mutant(
        "off-unverified",
        "a power-off that was accepted is not read back",
        "INV-2",
        (
            SEQUENCE,
            "last = await self._read_back(name, fence, end)",
            "last = None if accepted else await self._read_back(name, fence, end)",
        ),
        by=("fence-failures/says-off-and-does-nothing",),
    ),
    mutant(
        "late-power-off",
        "power fencing is not called back when the node returns, and nobody looks again before it is switched off",
        "LIVE-1",
        (NODES, "yield CancelPower(node.id)", "pass"),
        (POWER, LOOK_AGAIN, ""),
        (POWER, WRITTEN_DOWN, ""),
        (
            SEQUENCE,
            "accepted = await self._switch_off(name, fence, end)",
            "await self._clock.sleep(2.0)\n        accepted = await self._switch_off(name, fence, end)",
        ),
        by=("fence-failures/late-power-off-is-called-back",),
    ),
    mutant(
        "fences-itself",
        "a manager switches its own node off",
        "INV-5",
        (LOOP, "if isinstance(intent, FencePower) and intent.node == self._node:", "if False:"),
        by=("proofs/leaders-agent-is-away",),
    ),
    # --- the claim
    mutant(
        "claim-ignores-beat",
        "the claim does not compare the beat",
        "INV-2",
        (COMMIT, "            Compare(keys.beat(intent.node), intent.beat_revision),\n", ""),
        by=("proofs/back-at-the-last-moment",),
    ),
    mutant(
        "claim-ignores-fence",
        "the claim compares neither the fence record nor the record of failures that it writes",
        "INV-3",
        (COMMIT, "            Compare(keys.fence(intent.node), intent.fence_revision),\n", ""),
        (COMMIT, "compare.append(Compare(keys.health(intent.node), intent.health_revision))", "pass"),
        by=("proofs/claim-seen-late",),
    ),
    mutant(
        "epoch-not-raised",
        "the claim does not raise the fence epoch",
        "INV-3",
        (COMMIT, "fence = Fence(node.fence.epoch + 1, intent.proof", "fence = Fence(node.fence.epoch, intent.proof"),
        by=("node-failures/power-loss-with-power-fencing",),
    ),
    mutant(
        "term-not-compared",
        "a manager's writes do not compare its term",
        "INV-3",
        (ELECTION, "[Compare(keys.MANAGER_TERM, self.term_revision), *compare]", "[*compare]"),
        by=("pauses/the-leader-freezes",),
    ),
    mutant(
        "two-winners",
        "the election does not compare the term it replaces",
        "INV-3",
        (ELECTION, "[Compare(keys.MANAGER_TERM, current.mod_revision if current else 0)]", "[]"),
        by=("node-failures/the-leader-dies",),
    ),
    mutant(
        "decides-while-blind",
        "a manager decides, and fences, though the store has not answered it for long",
        "LIVE-1",
        (LOOP, "if self.election.blind():", "if False:"),
        (POWER, LOOK_AGAIN, ""),
        (POWER, WRITTEN_DOWN, ""),
        (
            LOOP,
            "                    self.observations.begin_term()\n                    self.wake()",
            "                    self.wake()",
        ),
        by=("proofs/blind-while-one-is-cut-off",),
    ),
    # --- placements
    mutant(
        "placed-with-the-claim",
        "an instance is placed elsewhere in the turn of the claim, whether that is committed or not",
        "INV-1",
        (
            BATCH,
            "{name: instance.executors(view.nodes) for",
            "{name: instance.executors(view.nodes) - set(claimed) for",
        ),
        by=("proofs/back-at-the-last-moment",),
    ),
    mutant(
        "strict-moves-on-suspicion",
        "a strict instance moves on suspicion, as advisory ones do",
        "INV-1",
        (PLACEMENT, "return spec.exclusivity is not Exclusivity.STRICT", "return True"),
        by=("network/cut-off-node-stops-cleanly",),
    ),
    mutant(
        "silence-is-stopped",
        "an instance without a word of its agent counts as stopped",
        "INV-1",
        (
            VIEW,
            "        if placement is None or word is None:\n            return False",
            "        if placement is None or word is None:\n            return placement is not None",
        ),
        by=("node-failures/agent-restart-adopts",),
    ),
    mutant(
        "failed-is-stopped",
        "`failed` is read as stopped",
        "INV-1",
        (
            VIEW,
            "return word.state is InstanceState.STOPPED and placement.goal is Goal.STOP",
            "return word.state in (InstanceState.STOPPED, InstanceState.FAILED) and placement.goal is Goal.STOP",
        ),
        by=("failing-stops/fails-once",),
    ),
    mutant(
        "old-stop-believed",
        "a confirmed stop of an older epoch counts",
        "INV-1",
        (VIEW, "(status.node, status.epoch) != (placement.node, placement.epoch)", "status.node != placement.node"),
        by=("proofs/stopped-and-wanted-elsewhere",),
    ),
    mutant(
        "migration-target-forgotten",
        "the target of a live migration does not count as an executor",
        "INV-1",
        (
            VIEW,
            "parts = {placement.migrate_to: placement.migrate_fence_epoch, placement.node: placement.fence_epoch}",
            "parts = {placement.node: placement.fence_epoch}",
        ),
        by=("migration/live",),
    ),
    mutant(
        "epoch-repeated",
        "a new placement does not get a higher epoch",
        "INV-3",
        (
            BATCH,
            "return max(instance.placement.epoch + 1 if instance.placement else 1, floor)",
            "return instance.placement.epoch if instance.placement else 1",
        ),
        by=("node-failures/power-loss-with-power-fencing",),
    ),
    mutant(
        "roles-ignored",
        "an instance is placed on a node without its role",
        "INV-4",
        (CAPACITY, "if spec.role not in node.spec.roles:", "if False:"),
        by=("capacity/roles-are-hard",),
    ),
    mutant(
        "anti-affinity-ignored",
        "strict anti-affinity does not refuse a node",
        "INV-4",
        (PLACEMENT, "self._shunned = self._group.shunned(where)", "self._shunned = {}"),
        by=("anti-affinity/strict-waits",),
    ),
    mutant(
        "failure-domains-ignored",
        "who must be apart by failure domain is only kept off the same node",
        "INV-4",
        (GROUPS, "for near in self.near.get(node, (node,))} if self.near else places", "for near in (node,)}"),
        by=("anti-affinity/by-failure-domain",),
    ),
    mutant(
        "slots-ignored",
        "a node takes more instances of a kind than it has slots for",
        "INV-4",
        (
            CAPACITY,
            "limited = sorted({kind for view in self._views for kind in view.spec.slots})",
            "limited = list[str]()",
        ),
        by=("capacity/slots-are-counted",),
    ),
    mutant(
        "pause-ignored",
        "the manager claims and places though high availability is paused",
        "INV-2",
        (NODES, '    if pause is None:\n        return ""', '    return ""'),
        (COMMIT, "[Compare(keys.PAUSE, 0), *compare]", "compare"),
        by=("ha-pause/nothing-is-fenced",),
    ),
    # --- suspicion
    mutant(
        "one-observer-is-enough",
        "observers need no majority",
        "LIVE-1",
        (OBSERVERS, "if 2 * len(missed_by) <= len(votes) or len(missed_by) < min(2, len(votes)):", "if not missed_by:"),
        by=("network/one-broken-link-is-no-death",),
    ),
    mutant(
        "half-of-the-observers",
        "half of the observers is taken for a majority",
        "LIVE-1",
        (
            OBSERVERS,
            "if 2 * len(missed_by) <= len(votes) or len(missed_by) < min(2, len(votes)):",
            "if 2 * len(missed_by) < len(votes) or not missed_by:",
        ),
        by=("proofs/half-of-the-observers-miss",),
    ),
    mutant(
        "self-suspicion-ignored",
        "observers that suspect themselves are counted",
        "LIVE-1",
        (OBSERVERS, "if report is None or report.self_suspect or now", "if report is None or now"),
        by=("proofs/two-deaf-observers",),
    ),
    mutant(
        "hold-removed",
        "the manager acts on suspicion though more than half of the nodes are suspect",
        "LIVE-1",
        (NODES, "if len(down) > 1 and 2 * len(down) > len(members):", "if False:"),
        by=("node-failures/more-than-half-hold",),
    ),
)
