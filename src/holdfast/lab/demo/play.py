"""The play: raise a cluster, put panel and volume on the node that leads, let it lose its power, watch, judge."""

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from holdfast.errors import HoldfastError
from holdfast.lab import kernel
from holdfast.lab.client import LabClient, LabError, require_root
from holdfast.lab.demo import stage, story
from holdfast.lab.demo.clients import PanelClient, VolumeClient, longest_stall, wait_first
from holdfast.lab.demo.display import Display, Scene
from holdfast.lab.demo.talk import Cluster, Onlooker
from holdfast.lab.layout import PANEL_ADDRESS
from holdfast.lab.options import LabOptions
from holdfast.lab.watcher import Watcher, WatchReport

CALM_S = 3.0
"""Everything runs for so long before the fault."""
RECOVERY_S = 120.0
RETURN_S = 90.0
AFTERMATH_S = 2.0
"""The clients go on for so long after everything is back."""
FRAME_S = 0.125
SILENT_S = 0.2
"""A client without an answer for so long is shown as stalled."""
PANEL_PORTS = (8443, 9443, 0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What there is to tell at the end."""

    node: str
    leads_store: bool
    """It was the leader of etcd too."""
    moments: list[story.Moment]
    checks: list[story.Check]


class Play:
    """One performance in a lab of its own. `perform` leaves the lab up; whoever calls it decides what becomes of it."""

    def __init__(self, lab: LabClient, display: Display, nodes: int) -> None:
        self._lab = lab
        self._display = display
        self._nodes = nodes
        self._cluster = Cluster(lab)
        self._moments: list[story.Moment] = []
        self._fault = 0.0
        self._offset = 0.0
        self.node = ""

    def perform(self) -> Outcome:
        """Raises HoldfastError if the stage cannot be set; what fails on it is told in the outcome's checks."""
        self._lab.up(LabOptions(nodes=self._nodes, panel_port=free_port()), self._display.step)
        address = self._set_the_stage()
        with ExitStack() as ending:
            ending.callback(self._cluster.close)
            leads_store = stage.store_leader(self._lab, self._cluster) == self.node
            authority = stage.authority(self._lab)
            self._display.step("clients begin to ask, and a watcher reads the processes of all nodes")
            watcher = ending.enter_context(Watcher(self._lab))
            self._panel = PanelClient(self._lab, PANEL_ADDRESS, authority)
            ending.callback(self._panel.kill)
            self._volume = VolumeClient(self._lab, address, stage.VOLUME)
            ending.callback(self._volume.kill)
            wait_first(self._panel, self._volume)
            self._onlooker = Onlooker(self._lab, avoid=self.node).start()
            ending.callback(self._onlooker.stop)
            returned = self._act()
            self._display.step("reading back every record that was acknowledged")
            self._panel.stop()
            self._volume.stop()
            return Outcome(self.node, leads_store, self._moments, self._judge(watcher.stop(), returned))

    def _set_the_stage(self) -> str:
        """Returns the volume's address."""
        lab, cluster = self._lab, self._cluster
        self._display.step("creating an NFS volume")
        address = stage.make_volume(lab, cluster)
        self.node = stage.leader(cluster)
        self._display.step(f"moving panel and volume to {self.node}, whose manager leads: the hard case")
        stage.gather(lab, cluster, self.node, [stage.PANEL, f"nfs/{stage.VOLUME}"])
        return address

    # --- the acts -----------------------------------------------------------------------------------------------------

    def _act(self) -> bool:
        """Calm, fault, recovery, return. Whether the node came back."""
        node = self.node
        self._watch(f"{node} leads and carries panel and volume; it is about to lose its power", CALM_S)
        self._offset = story.wall_offset(time.time(), kernel.boottime())
        self._fault = self._lab.fail(node, "power")
        self._watch(f"{node} has lost its power", RECOVERY_S, self._recovered)
        self._watch("everything runs again; the clients go on", AFTERMATH_S)
        self._lab.heal(node)
        returned = self._watch(f"{node} has power again and joins", RETURN_S, self._returned)
        self._watch(f"{node} is back, what it lost stays where it is", AFTERMATH_S)
        return returned

    def _watch(self, title: str, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Show the scene for so long, or until the condition holds; whether it did."""
        end = kernel.boottime() + seconds
        while kernel.boottime() < end:
            self._display.scene(self._scene(title))
            if until():
                self._display.scene(self._scene(title))
                return True
            time.sleep(FRAME_S)
        return False

    def _recovered(self) -> bool:
        """The incident is closed, both clients have answers, and a new open was answered after that."""
        incident = self._incident()
        if incident is None or incident["state"] != "closed":
            return False
        now, closed = kernel.boottime(), story.steps_of(incident, self._offset)[-1].at
        recent = now - SILENT_S
        return (
            self._panel.answers[-1] > recent
            and self._volume.writes[-1] > recent
            and self._volume.opened_after(closed) > 0
        )

    def _returned(self) -> bool:
        nodes = self._onlooker.status.get("nodes", ())
        return any(node["id"] == self.node and node["state"] == "up" for node in nodes) and (
            self._onlooker.power.get(self.node) == "on"
        )

    def _incident(self) -> dict[str, object] | None:
        return story.incident_of(self._onlooker.status, self.node, self._fault, self._offset)

    # --- what is seen -------------------------------------------------------------------------------------------------

    def _scene(self, title: str) -> Scene:
        status = self._onlooker.status
        if self._fault:
            self._moments = self._time_line() or self._moments
        clients = [
            self._client("panel, asked each 20 ms", self._panel.answers, "answers"),
            self._client("NFS, a record each 20 ms", self._volume.writes, "writes acknowledged"),
        ]
        return Scene(title, status, self._onlooker.power, clients, self._moments)

    def _client(self, name: str, answers: list[float], noun: str) -> tuple[str, str, bool]:
        silence = kernel.boottime() - answers[-1]
        if silence > SILENT_S:
            return name, f"no answer for {silence * 1000:.0f} ms", False
        text = f"{len(answers)} {noun}"
        if self._fault:
            text += f", longest stall {self._stall(answers) * 1000:.0f} ms"
        return name, text, True

    def _stall(self, answers: list[float]) -> float:
        """Seconds; minus one while it goes on."""
        stall = longest_stall(list(answers), self._fault, kernel.boottime())
        return stall.seconds if stall.ended else -1.0

    def _time_line(self) -> list[story.Moment]:
        incident, status = self._incident(), self._onlooker.status
        steps = story.steps_of(incident, self._offset) if incident else []
        told: dict[str, float] = {}
        for answers, text in (
            (self._panel.answers, "the panel answers its client again"),
            (self._volume.writes, "the volume's client writes again"),
            (self._volume.open_times(), "the volume opens new files again"),
        ):
            stall = longest_stall(list(answers), self._fault, kernel.boottime())
            if stall.ended and stall.seconds > SILENT_S:
                told[f"{text}, after {stall.seconds * 1000:.0f} ms"] = stall.ended
        return story.moments(self.node, self._fault, steps, story.elected_at(status, self._fault, self._offset), told)

    def _judge(self, report: WatchReport, returned: bool) -> list[story.Check]:
        return story.checks(
            story.Seen(
                node=self.node,
                status=self._onlooker.status,
                incident=self._incident(),
                panel_stall_s=self._stall(self._panel.answers),
                write_stall_s=self._stall(self._volume.writes),
                open_stall_s=self._stall(self._volume.open_times()),
                journal=self._volume.summary,
                samples=report.samples,
                longest_gap_s=report.longest_gap_s,
                violations=len(report.violations),
                returned=returned,
            )
        )


def free_port() -> int:
    """A port of 127.0.0.1 for the panel: the usual one, or one that is free."""
    for port in PANEL_PORTS:
        try:
            with socket.create_server(("127.0.0.1", port)) as probe:
                return int(probe.getsockname()[1])
        except OSError:
            continue
    raise LabError("no port of 127.0.0.1 is free for the panel")


def refuse_if_not_possible(lab: LabClient) -> None:
    """Raises NotPermitted, LabError, Conflict with one line that says what to do."""
    require_root()
    if lab.running():
        raise HoldfastError(f"the lab `{lab.name}` is up already", "Take it down first: holdfast lab down")
