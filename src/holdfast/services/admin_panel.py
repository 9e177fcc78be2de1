"""The admin panel: one warm process per management node, and an address that decides which of them people see.

Every management node runs `holdfast-panel` all the time as the system unit `panel`; its state is in the store, so each copy
shows the same. The *instance* `panel/admin` is nothing but the service address, which the agent adds and removes. A
fail-over therefore starts no process at all: it costs the detection and the move of an address.

Because of that, `stop` leaves the process alone, and `running` reports nothing: no process here is specific to the instance,
only the address is. The agent's executor, which owns addresses, reads from `Addresses.present()` whether the instance is
here. Two panels are a nuisance and no danger (`advisory`): both write to the store by compare-and-swap.
"""

import asyncio
import ssl
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography import x509

from holdfast.config import PANEL_PORT, NodeConfig
from holdfast.core import rights
from holdfast.core.model import InstanceSpec
from holdfast.errors import DriverError
from holdfast.ports import Clock, Runner, StepRecorder, Unit
from holdfast.services.cold import ColdDriver
from holdfast.services.warm import NothingWarm, each

UNIT = "panel"
START_TIMEOUT_S = 20.0
"""A cold start of the process takes about one second; slow machines get much more before it counts as failed."""
POLL_S = 0.02

TCP_LISTEN = "0A"
"""State column of /proc/net/tcp and tcp6 (Linux include/net/tcp_states.h, TCP_LISTEN = 10)."""


def listening(port: int, proc: Path = Path("/proc/net")) -> bool:
    """Whether any process of this network namespace listens on the TCP port.

    Read from the kernel's tables instead of connecting: a connection would cost the process a TLS handshake, and would
    hang on a hung process, whose socket still accepts.
    """
    for table in ("tcp6", "tcp"):
        try:
            lines = (proc / table).read_text().splitlines()[1:]
        except OSError:  # no IPv6 on this kernel
            continue
        for line in lines:
            columns = line.split()
            if columns[3] == TCP_LISTEN and int(columns[1].rpartition(":")[2], 16) == port:
                return True
    return False


class PanelDriver(ColdDriver, NothingWarm):
    """Driver port for kind `panel` (contract: tests/contract/test_driver.py)."""

    kind = "panel"

    def __init__(
        self,
        runner: Runner,
        clock: Clock,
        config: NodeConfig,
        *,
        port: int = PANEL_PORT,
        is_listening: Callable[[int], bool] = listening,
    ) -> None:
        self._runner = runner
        self._clock = clock
        self._config = config
        self._port = port
        self._is_listening = is_listening
        self._lock = asyncio.Lock()
        """One start or restart at a time: a restart of a hung process makes wait_exit return, and the agent answers that
        with a start of its own."""

    def unit(self) -> Unit:
        """The warm process: found next to this interpreter, so that a virtual environment needs no PATH."""
        program = Path(sys.executable).parent / "holdfast-panel"
        return Unit(name=UNIT, argv=(str(program),), strict=False, rights=rights.PANEL)

    async def prepare(self, instances: Sequence[InstanceSpec]) -> dict[str, str]:
        """Start the warm process, without waiting for it to listen."""
        return await each(instances, self._prepare_one)

    async def _prepare_one(self, _instance: InstanceSpec) -> None:
        async with self._lock:
            await self._runner.start(self.unit())

    async def start(self, instance: InstanceSpec, allowed: Callable[[], bool], steps: StepRecorder) -> None:
        """Make sure that the warm process runs and listens; the address follows from the agent."""
        if not allowed():
            raise DriverError(f"the start of {instance.id} was abandoned", "The node may not start it any more.")
        async with self._lock:
            await self._ensure_listening(instance)
        steps.step("server")

    async def address_up(self, instance: InstanceSpec) -> None:
        """Nothing: the process listens on the wildcard address, and browsers open connections of their own."""

    async def tick(self, instance: InstanceSpec) -> None:
        """Nothing: the process's end is seen by wait_exit, its hang by the health probe."""

    async def stop(self, instance: InstanceSpec, grace_s: float) -> None:
        """Nothing is left of the instance once the agent has removed the address; the warm process goes on."""

    async def running(self) -> list[str]:
        """Always empty: the instance is an address (see the module's text)."""
        return []

    async def wait_exit(self, instance: InstanceSpec) -> bool:
        """Returns when the warm process has ended; the agent then calls `start` again."""
        await self._runner.wait_exit(UNIT)
        return False

    async def reconfigure(self, instance: InstanceSpec) -> None:
        """Nothing: the process reads everything from the store."""

    async def restart_hung(self, instance: InstanceSpec) -> None:
        """Kill the process without waiting for its consent and start it anew: it runs but does not answer.

        A hung or stopped (SIGSTOP) process ignores SIGTERM, so no grace is given. Raises DriverError.
        """
        async with self._lock:
            await self._runner.stop(UNIT, grace_s=0.0)
            await self._ensure_listening(instance)

    async def _ensure_listening(self, instance: InstanceSpec) -> None:
        """Start the unit if need be and wait until the port is open. A process that ends meanwhile failed to start."""
        await self._runner.start(self.unit())
        deadline = self._clock.now() + START_TIMEOUT_S
        log = self._runner.log_path(UNIT)
        while not self._is_listening(self._port):
            if UNIT not in await self._runner.running():
                raise DriverError(f"the process of {instance.id} ended before it listened", f"Its output is in {log}.")
            if self._clock.now() >= deadline:
                raise DriverError(
                    f"the process of {instance.id} does not listen on port {self._port} after {START_TIMEOUT_S:.0f} s",
                    f"Its output is in {log}.",
                )
            await self._clock.sleep(POLL_S)


class PanelProbe:
    """HealthProbe port for kind `panel`: what a browser would do first, on a new connection, through the address."""

    kind = "panel"

    def __init__(self, config: NodeConfig, *, port: int = PANEL_PORT) -> None:
        self._ca = config.tls.ca
        self._own_address = config.management_address
        self._port = port

    async def check(self, instance: InstanceSpec, *, timeout: float) -> str:
        """GET /healthz over TLS; "" if it answers 200 with a certificate of the cluster's CA.

        Before management is highly available the panel has no address of its own and runs on the only management node, whose
        agent and manager are the only ones to ask: they check at that node's own address.
        """
        host = instance.address.ip if instance.address else self._own_address
        where = _url(host, self._port)
        try:
            async with asyncio.timeout(timeout):
                status = await self._get(host)
        except TimeoutError:
            return f"{where} did not answer within {timeout:g} s"
        except ssl.SSLCertVerificationError as error:
            return f"{where} shows a certificate that is not the cluster's: {error.verify_message}"
        except (OSError, ValueError) as error:
            return f"{where} cannot be reached: {error}"
        return "" if status == 200 else f"{where} answers with HTTP status {status}"

    async def _get(self, host: str) -> int:
        """The answer's status code. Raises OSError (ssl's errors among them), ValueError."""
        reader, writer = await asyncio.open_connection(host, self._port, ssl=self._context())
        try:
            self._refuse_revoked(writer)
            target = _url(host, self._port).removeprefix("https://").removesuffix("/healthz")
            request = f"GET /healthz HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n"
            writer.write(request.encode())
            line = await reader.readline()
            version, _, rest = line.partition(b" ")
            if not version.startswith(b"HTTP/1."):
                raise ValueError(f"not an HTTP answer: {line[:40]!r}")
            return int(rest.split(b" ", 1)[0])
        finally:
            # Not closed politely: the other side may hang, and the verdict is known.
            writer.transport.abort()

    def _refuse_revoked(self, writer: asyncio.StreamWriter) -> None:
        """A former management node may still hold a certificate that names the panel's address. Raises ValueError."""
        shown = writer.get_extra_info("peercert") or {}
        try:
            revoked = x509.load_pem_x509_crl(Path(self._ca).with_name("crl.pem").read_bytes())
        except (OSError, ValueError):  # none, or damaged: then the panel is not to be called ill for it
            return
        if revoked.get_revoked_certificate_by_serial_number(int(shown.get("serialNumber", "0"), 16)) is not None:
            raise ValueError("it shows a certificate that was revoked")

    def _context(self) -> ssl.SSLContext:
        """Trusts the cluster's CA only. Read anew each time, so that a rotated CA counts at once.

        The host name is not compared: the panel's address may be younger than the nodes' certificates.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self._ca)
        return context


def _url(host: str, port: int) -> str:
    return f"https://[{host}]:{port}/healthz" if ":" in host else f"https://{host}:{port}/healthz"
