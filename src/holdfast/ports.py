"""The seams between Holdfast and the world, as small Protocols.

The same agent and manager run in production, in the lab and in the simulator: only what stands behind these ports differs.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from holdfast.core.model import FenceDeviceSpec, InstanceSpec, ServiceAddress, WatchdogAttestation
from holdfast.core.rights import AS_THE_AGENT, Rights

# --- clock ---------------------------------------------------------------------------------------------------------


class Clock(Protocol):
    """The only source of time. Decisions use `now`; `wall` is for people."""

    def now(self) -> float:
        """CLOCK_BOOTTIME of this node, in seconds."""
        ...

    def wall(self) -> str:
        """Wall-clock time as ISO 8601 UTC. Never used in a decision."""
        ...

    async def sleep(self, seconds: float) -> None: ...

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Cancels its body after `seconds` and raises TimeoutError."""
        ...


# --- store ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """One key as it was read."""

    key: str
    value: bytes
    mod_revision: int
    create_revision: int
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All keys under a prefix at one revision."""

    entries: tuple[Entry, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Compare:
    """Succeeds if the key's mod_revision is exactly this; 0 means that the key does not exist."""

    key: str
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Put:
    key: str
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    key: str


@dataclass(frozen=True, slots=True)
class Get:
    key: str


Op = Put | Delete | Get


@dataclass(frozen=True, slots=True)
class TxnResult:
    succeeded: bool
    revision: int
    """Store revision after the transaction; the mod_revision of every key it put."""
    gets: dict[str, Entry | None] = field(default_factory=dict)
    """What the Get operations of the branch that ran have read."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change delivered by a watch."""

    key: str
    entry: Entry | None
    """None: the key was deleted."""
    revision: int


@dataclass(frozen=True, slots=True)
class WatchBatch:
    """What a watch delivers.

    If `snapshot` is true the `changes` are a full listing: everything known under the prefix before must be forgotten.
    That happens first of all, and again whenever continuity was lost (compaction, cancellation, another or restored store).
    A batch without changes is a sign of life (progress up to `revision`).
    """

    changes: tuple[Change, ...]
    revision: int
    snapshot: bool = False


class Store(Protocol):
    """Linearizable key-value store with compare-and-swap transactions (contract: tests/contract/test_store.py).

    Keys and prefixes are text without a leading slash. Each call has its own deadline `timeout` in seconds (None: the
    store's default). Errors: StoreUnavailable (certainly not applied), StoreUnknownOutcome (may be applied), StoreFull,
    StoreRejected.
    """

    async def get(self, key: str, *, timeout: float | None = None) -> Entry | None: ...

    async def list(self, prefix: str, *, timeout: float | None = None) -> Snapshot: ...

    async def txn(
        self,
        compare: Sequence[Compare],
        then: Sequence[Op],
        otherwise: Sequence[Op] = (),
        *,
        timeout: float | None = None,
    ) -> TxnResult: ...

    def watch(self, prefix: str) -> AsyncGenerator[WatchBatch, None]:
        """Never ends and never raises except StoreRejected: it reconnects, resumes or lists anew. Close it with aclose()."""
        ...

    async def lease(self, ttl_s: int, *, timeout: float | None = None) -> int:
        """A new lease for hints and clean-up; never a proof of anything."""
        ...

    async def keep_alive(self, lease: int, *, timeout: float | None = None) -> bool:
        """Renews once; False if the lease is gone."""
        ...

    async def revoke(self, lease: int, *, timeout: float | None = None) -> None: ...

    async def close(self) -> None: ...


# --- fencing -------------------------------------------------------------------------------------------------------


class GuardLink(Protocol):
    """The agent's side of the connection to the guard."""

    @property
    def connected(self) -> bool:
        """The guard is there, and enforces the deadline it was told last."""
        ...

    @property
    def present(self) -> bool:
        """The guard is there, whether or not it takes what it is told: a refusal of it counts."""
        ...

    async def attest(self) -> WatchdogAttestation | None:
        """What the guard attests now; None without guard or without a watchdog device."""
        ...

    async def set_deadline(self, deadline: float, grace: float) -> bool:
        """Tell the guard D and G (CLOCK_BOOTTIME seconds / seconds) and leave idle. True once the guard acknowledged."""
        ...

    async def set_idle(self) -> bool:
        """Declare that nothing strict runs and nothing will be started before a next set_deadline was acknowledged."""
        ...

    async def pause(self) -> bool:
        """High availability is paused, and this node's paused beat is committed: enforce nothing, disarm the watchdog,
        until the next set_deadline or set_idle. True once the guard acknowledged."""
        ...

    async def farewell(self, *, restart: bool) -> bool:
        """The agent ends. True: the deadline stays in force, what runs is the next one's. False: confirmed idle, disarm."""
        ...


@dataclass(frozen=True, slots=True)
class PowerReading:
    """One reading of a power state. `state` is `on`, `off` or `unknown`; unknown proves nothing."""

    state: str
    detail: str = ""


class PowerFence(Protocol):
    """One fence device of one node. Every call ends within `timeout` seconds or raises FenceError."""

    async def read(self, *, timeout: float) -> PowerReading: ...
    async def off(self, *, timeout: float) -> None:
        """Ask for immediate power-off. Returning proves nothing: read the state back."""

    async def on(self, *, timeout: float) -> None: ...

    async def close(self) -> None: ...


class PowerFences(Protocol):
    """Makes the PowerFence for a device description."""

    def open(self, device: FenceDeviceSpec) -> PowerFence:
        """Raises InvalidInput if type or options are wrong."""
        ...


# --- network -------------------------------------------------------------------------------------------------------


class Addresses(Protocol):
    """Service addresses of this node. All methods are idempotent. Errors: InvalidInput, AddressInUse, DriverError."""

    async def probe(self, address: ServiceAddress) -> str:
        """Ask the network who has the address. Returns "" (nobody answered) or the hardware address that did."""
        ...

    async def add(self, address: ServiceAddress, valid_s: float) -> None:
        """Add the address (or renew it). The kernel itself removes it after `valid_s` seconds without a renewal, so that
        none is left behind when the agent dies."""
        ...

    async def remove(self, address: ServiceAddress) -> None: ...

    async def announce(self, address: ServiceAddress) -> None:
        """Send one round of gratuitous ARP or unsolicited neighbour advertisements."""
        ...

    async def mute(self, address: ServiceAddress) -> None:
        """Drop every packet from and to the address silently, so that clients see silence and no reset while its server
        stops for a planned move. Undone by `remove` and by `unmute`."""
        ...

    async def unmute(self, address: ServiceAddress) -> None: ...

    async def present(self) -> list[str]:
        """IPs of the service addresses that are on this node now (only those Holdfast added)."""
        ...


class DatagramBus(Protocol):
    """Authenticated datagrams between nodes (hints only)."""

    def send(self, payload: bytes, host: str, port: int) -> None:
        """Best effort, never blocks, never raises."""
        ...

    def on_receive(self, handler: Callable[[bytes, str, str], None]) -> None:
        """handler(payload, sender node id, address it came from); called only for authentic, fresh datagrams."""
        ...


# --- processes and services ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unit:
    """A long-running process with its children, in a control group of its own that outlives the agent."""

    name: str
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    strict: bool = True
    """True: in the group that the guard kills at the deadline. False: system units (store, manager, panel)."""
    cwd: str = "/"
    allowed: Callable[[], bool] | None = field(default=None, compare=False)
    """Asked at the last moment before the program runs, when the process is already where the guard would kill it; False
    makes the start a DriverError. Strict units should pass on what their driver was given."""
    rights: Rights = AS_THE_AGENT
    """As whom it runs, and what it may do."""


class Runner(Protocol):
    """Starts and stops units. Survives an agent restart: what runs is read from the control groups."""

    async def start(self, unit: Unit) -> None:
        """Start it; if a unit of that name runs already nothing happens. Raises DriverError."""
        ...

    async def stop(self, name: str, *, grace_s: float) -> None:
        """SIGTERM, after `grace_s` SIGKILL of the whole group; returns only when the group is empty. Raises DriverError
        if that cannot be confirmed."""
        ...

    async def running(self) -> list[str]:
        """Names of the units whose groups hold live processes."""
        ...

    async def wait_exit(self, name: str) -> None:
        """Return when the unit's group is empty (at once if it does not run)."""
        ...

    def log_path(self, name: str) -> str:
        """File that collects the unit's output."""
        ...


class StepRecorder(Protocol):
    """Collects the time of each step of a start."""

    def step(self, name: str) -> None: ...


class Driver(Protocol):
    """One kind of service on one node (contract: tests/contract/test_driver.py).

    A driver does not know the protocol and does not handle the service address: the agent decides when an instance may
    run, and adds, announces and removes the address. Order of a start: `start` (server listens, though the address is not
    there yet) → address added and announced → `address_up`. Order of a stop: address muted → `stop` → address removed.
    """

    kind: str

    async def prepare(self, instances: Sequence[InstanceSpec]) -> dict[str, str]:
        """Keep warm exactly these, which could come to this node or are here, and nothing for others; data notice nothing.
        Called every few seconds while the node may run what is strict. Returns what could not be prepared (id → why)."""
        ...

    async def put_away(self) -> None:
        """Every instance was stopped, nothing strict may run here: end what `prepare` keeps in the strict group, for
        certain. Raises DriverError."""
        ...

    async def start(self, instance: InstanceSpec, allowed: Callable[[], bool], steps: StepRecorder) -> None:
        """Start it, or adopt it if it runs here; what a live migration left half received is discarded. `allowed` is asked
        right before each side effect that could touch data; if it says False the start is abandoned with DriverError."""
        ...

    async def address_up(self, instance: InstanceSpec) -> None:
        """The address is on this node and announced, e.g. reset the connections of clients to the former owner."""
        ...

    async def tick(self, instance: InstanceSpec) -> None:
        """Called about each second while it runs (e.g. remember the connected clients)."""
        ...

    async def stop(self, instance: InstanceSpec, grace_s: float) -> None:
        """Returns only when it is certain that nothing of the instance runs here any more; else DriverError."""
        ...

    async def migrate(self, instance: InstanceSpec, to: str) -> None:
        """Hand what runs here over to the node `to` without interrupting it; waits some seconds for that node to be ready.

        Returns when nothing of it runs here any more: `to` executes it. Raises DriverError when it runs here as before and
        certainly not on `to`, now or later. A driver that cannot tell which (the connection broke during the hand-over) ends
        what is left here and returns: `to` adopts it or starts it. Cancelled, it breaks the attempt off; `stop` or `start`
        follows.
        """
        ...

    async def receive(self, instance: InstanceSpec, allowed: Callable[[], bool]) -> None:
        """Be ready for an instance that another node hands over; returns then. Idempotent; one that is here already is left
        alone.

        What receives it is a process in its strict group, listed by `running`, started only after `allowed`: so whatever
        ends the group also makes a later hand-over impossible. It stays until `stop`, or `start`, which adopts what came.
        Raises DriverError.
        """
        ...

    async def reconfigure(self, instance: InstanceSpec) -> None:
        """Its specification changed, not its address: apply that, by a restart only if need be. Raises DriverError."""
        ...

    async def restart_hung(self, instance: InstanceSpec) -> None:
        """It runs but does not answer: end its process by force and start it again in place. Raises DriverError."""
        ...

    async def running(self) -> list[str]:
        """Ids of the instances of this kind that run here, even in part, read from reality (control groups)."""
        ...

    async def wait_exit(self, instance: InstanceSpec) -> bool:
        """Returns when its main process has ended (at once if it does not run). True: by its own will, and it stays off,
        like a guest that powered itself off; never after `stop` was asked for. False: it is to be started again."""
        ...


class HealthProbe(Protocol):
    """A client's check of one kind, through the service address; usable from any node."""

    kind: str

    async def check(self, instance: InstanceSpec, *, timeout: float) -> str:
        """ "" if healthy, else one sentence saying what is wrong. Never raises."""
        ...
