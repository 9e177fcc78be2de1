"""What a drill looks at without disturbing anything: one function per section, each gives its checks."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from holdfast.api.operations import dns_picture, fence_test
from holdfast.api.operations.checks import Probe
from holdfast.api.status import ClusterStatus, InstanceView, NodeStatus
from holdfast.core.drill import DrillAnswer, DrillCheck, DrillRequest, Grade
from holdfast.core.model import NodeState, Role, ServiceAddress
from holdfast.errors import HoldfastError
from holdfast.ports import Clock, PowerFences, Put, Store
from holdfast.store import keys
from holdfast.store.codec import encode
from holdfast.store.view import Source

ANSWER_S = 15.0
"""How long the agents may take to answer; a storage that takes longer has failed."""
LOOK_S = 0.2
SLOW_STORAGE_S = 1.0
SLOW_READ_S = 0.1
SLOW_WRITE_S = 0.25
REACH_S = 2.0
AT_ONCE = 16
"""Fence devices and addresses that are asked side by side."""

Reach = Callable[[str], Awaitable[str]]


async def tcp_reach(url: str) -> str:
    """Why a store member does not take a connection; "" if it does."""
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(REACH_S):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except TimeoutError:
        return f"no answer within {REACH_S:g} s"
    except OSError as error:
        return error.strerror or str(error)
    writer.close()
    return ""


@dataclass(frozen=True, slots=True)
class Means:
    """What a drill works with."""

    node: str
    """Where it is made."""
    store: Store
    clock: Clock
    status: Callable[[], ClusterStatus]
    source: Callable[[], Source]
    seen: Callable[[int], Awaitable[object]]
    """Waits until `status` and `source` include a revision of the store, or for too long."""
    fences: PowerFences | None = None
    probe: Probe | None = None
    reach: Reach = tcp_reach


@dataclass(frozen=True, slots=True)
class Scope:
    """What this drill is about."""

    drill: str
    lease: int
    """Whatever it asks of agents goes away with the process that makes it."""
    nodes: tuple[str, ...] = ()

    def of(self, status: ClusterStatus) -> list[NodeStatus]:
        return [node for node in status.nodes if not self.nodes or node.id in self.nodes]


async def nodes(means: Means, scope: Scope) -> list[DrillCheck]:
    found = []
    for node in scope.of(means.status()):
        if node.state is NodeState.UP:
            found.append(DrillCheck("nodes", node.id, Grade.OK, "is up"))
        elif node.state.up:
            text = f"is in {'maintenance' if node.maintenance else 'quarantine'}: it takes nothing over"
            command = f"maintenance exit {node.id}" if node.maintenance else f"return {node.id}"
            found.append(DrillCheck("nodes", node.id, Grade.WARNING, text, f"To end it: holdfast node {command}."))
        else:
            text = f"is {node.state}{': ' + node.note if node.note else ''}"
            found.append(DrillCheck("nodes", node.id, Grade.FAILED, text, f"Look at `holdfast node show {node.id}`."))
    return found


# --- proofs of death ------------------------------------------------------------------------------------------------


async def fencing(means: Means, scope: Scope) -> list[DrillCheck]:
    """The power state is read through each device. Nothing is switched."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(node: NodeStatus) -> list[DrillCheck]:
        async with limit:
            return await _devices(means, node)

    return [check for found in await asyncio.gather(*map(one, scope.of(means.status()))) for check in found]


async def _devices(means: Means, node: NodeStatus) -> list[DrillCheck]:
    if not node.fence_devices:
        return [_no_device(node)]
    began = means.clock.now()
    try:
        tests = await fence_test.test(means.store, node.id, means.fences)
    except HoldfastError as error:
        return [DrillCheck("fencing", node.id, Grade.FAILED, error.message, error.advice)]
    took = means.clock.now() - began
    another = node.watchdog is not None or any(test.ok and test.type != "manual" for test in tests)
    found = []
    for test in tests:
        grade = Grade.OK if test.ok else Grade.WARNING if another and not test.lies else Grade.FAILED
        if test.type == "manual" and not another:
            grade = Grade.WARNING
        text = f"{test.name} ({test.type}): {test.text}"
        found.append(DrillCheck("fencing", node.id, grade, text, test.advice, took))
    return found


def _no_device(node: NodeStatus) -> DrillCheck:
    advice = f"Give it one: holdfast node fence set {node.id} --device …"
    if node.watchdog is not None:
        text = "has no fence device: its death is proven by its watchdog only, which takes T_wait"
        return DrillCheck("fencing", node.id, Grade.WARNING, text, advice)
    text = "has neither fence device nor watchdog: nothing but an operator's word proves its death"
    return DrillCheck("fencing", node.id, Grade.FAILED, text, advice)


async def watchdogs(means: Means, scope: Scope) -> list[DrillCheck]:
    found = []
    for node in scope.of(means.status()):
        if node.watchdog is not None:
            text = f"{node.watchdog.identity or node.watchdog.device}, {node.watchdog.timeout_s} s, is attested"
            found.append(DrillCheck("watchdogs", node.id, Grade.OK, text))
        elif node.paused:
            text = "none is attested, because high availability is paused"
            found.append(DrillCheck("watchdogs", node.id, Grade.WARNING, text, "End the pause: holdfast ha resume."))
        else:
            grade = Grade.WARNING if node.fence_devices else Grade.FAILED
            text = "none is attested" + (
                ": its death is proven by its fence devices only" if node.fence_devices else ""
            )
            advice = "See `journalctl -u holdfast-guard` on it: a device that is missing, or taken by somebody else."
            found.append(DrillCheck("watchdogs", node.id, grade, text, advice))
    return found


# --- what clients see -----------------------------------------------------------------------------------------------


async def addresses(means: Means, scope: Scope) -> list[DrillCheck]:
    """Each service address is answered by its owner alone, and what is behind it answers."""
    status, limit = means.status(), asyncio.Semaphore(AT_ONCE)
    here = [i for i in status.instances if i.desired == "started" and (not scope.nodes or i.node in scope.nodes)]

    async def one(instance: InstanceView) -> DrillCheck:
        async with limit:
            return await _address(means, status, instance)

    return list(await asyncio.gather(*map(one, here)))


async def _address(means: Means, status: ClusterStatus, instance: InstanceView) -> DrillCheck:
    def check(grade: Grade, text: str, advice: str = "") -> DrillCheck:
        return DrillCheck("addresses", instance.id, grade, text, advice)

    if instance.state != "running":
        why = instance.waiting or instance.detail
        advice = f"Look at `holdfast explain {instance.id}`."
        return check(Grade.FAILED, f"is {instance.state}{': ' + why if why else ''}", advice)
    if not instance.healthy:
        why = f": {instance.detail}" if instance.detail else ""
        return check(Grade.FAILED, f"runs on {instance.node} but does not answer{why}", "See its log there.")
    if not instance.address:
        return check(Grade.OK, f"answers on {instance.node}")
    if means.probe is None:
        return check(Grade.WARNING, f"answers; whether {instance.address} is used twice cannot be probed from here")
    try:
        answered = await means.probe(ServiceAddress(instance.address, instance.network))
        expected = "" if instance.node == means.node else await _hardware_of(means, status, instance)
    except HoldfastError as error:
        return check(Grade.WARNING, f"answers; its address cannot be probed: {error.message}", error.advice)
    if answered != expected:
        return check(
            Grade.FAILED,
            f"{instance.address} is answered by {answered or 'nobody'} instead of {instance.node}"
            + (f" ({expected})" if expected else " alone"),
            "Another machine uses the address: take it away from it."
            if answered
            else "See the network between the nodes, and the agent's log on its node.",
        )
    return check(
        Grade.OK, f"{instance.address} is answered by {instance.node} alone, and the service behind it answers"
    )


async def _hardware_of(means: Means, status: ClusterStatus, instance: InstanceView) -> str:
    """The hardware address that answers for its node's own address on that network."""
    assert means.probe is not None
    node = status.node(instance.node)
    own = node.addresses.get(instance.network, "") if node else ""
    return await means.probe(ServiceAddress(own, instance.network)) if own else ""


# --- storage --------------------------------------------------------------------------------------------------------


async def storage(means: Means, scope: Scope) -> list[DrillCheck]:
    """Each node's agent writes a small file of its own, reads it back and removes it."""
    chosen = [node for node in scope.of(means.status()) if set(node.roles) - {Role.MANAGEMENT}]
    asked = [node.id for node in chosen if node.state.up]
    answers = await ask(means, scope, {name: DrillRequest(scope.drill) for name in asked})
    found = []
    for node in chosen:
        answer = answers.get(node.id)
        if node.id not in asked:
            text = f"is {node.state}: not looked at"
            found.append(DrillCheck("storage", node.id, Grade.WARNING, text, "Bring the node up and repeat the drill."))
        elif answer is None:
            text = f"its agent does not say within {ANSWER_S:g} s whether the shared storage answers"
            found.append(DrillCheck("storage", node.id, Grade.FAILED, text, "See the agent's log on that node."))
        else:
            found.append(_storage_check(node.id, answer))
    return found


def _storage_check(node: str, answer: DrillAnswer) -> DrillCheck:
    took = sum(answer.steps.values())
    if answer.problem:
        return DrillCheck("storage", node, Grade.FAILED, answer.problem, answer.advice)
    said = ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in answer.steps.items())
    if took > SLOW_STORAGE_S:
        advice = "A failover waits for it: look at the storage and at this node's connection to it."
        return DrillCheck("storage", node, Grade.WARNING, f"is slow: {said}", advice, took)
    return DrillCheck("storage", node, Grade.OK, f"a small file: {said}", "", took)


async def ask(means: Means, scope: Scope, requests: Mapping[str, DrillRequest]) -> dict[str, DrillAnswer]:
    """Node → what its agent answered, of those that did within ANSWER_S."""
    await means.store.txn(
        [], [Put(keys.drill_request(node), encode(one), scope.lease) for node, one in requests.items()]
    )
    give_up = means.clock.now() + ANSWER_S
    answers: dict[str, DrillAnswer] = {}
    while len(answers) < len(requests) and means.clock.now() < give_up:
        for node, request in requests.items():
            said = means.source().read(keys.drill_answer(node), DrillAnswer)
            if said is not None and (said.drill, said.kill) == (request.drill, request.kill):
                answers[node] = said
        await means.clock.sleep(LOOK_S)
    return answers


# --- names, room, store ---------------------------------------------------------------------------------------------


async def dns(means: Means, scope: Scope) -> list[DrillCheck]:
    """Every name server of each zone, and what the world finds."""
    tested = await dns_picture.tested(means.source())
    if not tested:
        return [DrillCheck("dns", "", Grade.OK, "there is no DNS zone to look at")]
    found = []
    for zone, findings in tested.items():
        bad = [finding for finding in findings if not finding.ok]
        for finding in bad:
            world = finding.where.startswith("the world")
            grade = Grade.WARNING if world else Grade.FAILED
            advice = (
                "Have the parent zone delegate it to the name servers of `holdfast dns show`."
                if world
                else "See nameserver.log on that node, and that UDP and TCP port 53 are open."
            )
            found.append(DrillCheck("dns", zone, grade, f"{finding.where}: {finding.check}: {finding.text}", advice))
        if not bad:
            found.append(DrillCheck("dns", zone, Grade.OK, f"all {len(findings)} checks of its servers are well"))
    return found


async def room(means: Means, scope: Scope) -> list[DrillCheck]:
    """Whether what fails would find room, and nothing stops a failover as such."""
    status = means.status()
    found = []
    if status.pause is not None:
        text = "high availability is paused: nothing would be recovered"
        found.append(DrillCheck("room", "", Grade.FAILED, text, "End the pause: holdfast ha resume."))
    elif status.hold:
        found.append(DrillCheck("room", "", Grade.FAILED, status.hold, "Look at `holdfast status`."))
    if not status.manager.node:
        text = "no manager leads: nobody would decide"
        found.append(DrillCheck("room", "", Grade.FAILED, text, "See /var/log/holdfast/manager.log."))
    for incident in status.open_incidents:
        advice = f"Look at `holdfast incident show {incident.id}`."
        found.append(DrillCheck("room", incident.node, Grade.WARNING, "an incident is open", advice))
    word = status.guarantee
    if word is not None:
        advice = "" if word.holds else "Add room, lower --tolerate, or see `holdfast what-if`."
        found.append(DrillCheck("room", "", Grade.OK if word.holds else Grade.FAILED, word.text, advice))
    elif status.compute is not None:
        text = "whether everything would find room is not known yet"
        found.append(DrillCheck("room", "", Grade.WARNING, text, "Repeat the drill in a minute."))
    elif not found:
        found.append(DrillCheck("room", "", Grade.OK, "there is no compute cluster whose room could be short"))
    return found


async def store(means: Means, scope: Scope) -> list[DrillCheck]:
    """Its members, and how long it takes."""
    management = means.status().management
    voters = [member for member in management.members if member.state == "voter"]
    found = []
    if len(voters) < 3:
        text = f"the store has {len(voters)} voting member(s): the loss of one node ends all decisions"
        found.append(DrillCheck("store", "", Grade.WARNING, text, "Have three or five: holdfast ha enable."))
    troubles = await asyncio.gather(*(means.reach(member.client_url) for member in voters))
    for member, trouble in zip(voters, troubles, strict=True):
        text = f"its member does not take connections from {means.node}: {trouble}" if trouble else "its member answers"
        advice = "See etcd.log on that node, and the network between the two." if trouble else ""
        found.append(DrillCheck("store", member.node, Grade.FAILED if trouble else Grade.OK, text, advice))
    missing = set(management.nodes) - {member.node for member in voters}
    for node in sorted(missing):
        text = "is to have a member of the store, which does not vote yet"
        found.append(DrillCheck("store", node, Grade.WARNING, text, "Look at `holdfast ha show`."))
    return [*found, await _latency(means, scope)]


async def _latency(means: Means, scope: Scope) -> DrillCheck:
    reads, writes = [], []
    mark = await means.store.get(keys.working(scope.drill))
    same = [Put(mark.key, mark.value, scope.lease)] if mark else []
    for _ in range(5):
        began = means.clock.now()
        await means.store.get(keys.CLUSTER)
        read = means.clock.now()
        await means.store.txn([], list(same))
        reads.append(read - began)
        writes.append(means.clock.now() - read)
    read, write = sorted(reads)[2], sorted(writes)[2]
    text = f"a read takes {read * 1000:.0f} ms and a write {write * 1000:.0f} ms (medians of 5)"
    if read > SLOW_READ_S or write > SLOW_WRITE_S:
        advice = "It needs a disk that takes a write for good within 0.1 s, whatever else uses it."
        return DrillCheck("store", "", Grade.WARNING, text, advice, write)
    return DrillCheck("store", "", Grade.OK, text, "", write)
