"""Units as transient services, under a systemd that is process 1: the Runner's contract, and what is systemd's alone."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from own_systemd import OwnSystemd, own_systemd, possible

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[3]
TESTS = ROOT / "tests"


@pytest.fixture(scope="module")
def systemd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnSystemd]:
    if not possible():
        pytest.skip("needs root and systemd")
    with own_systemd(tmp_path_factory.mktemp("systemd") / "log") as made:
        yield made


@pytest.mark.parametrize("file", ["contract/test_runner.py", "lab/parts/systemd_only.py"])
def test_under_systemd(systemd: OwnSystemd, file: str) -> None:
    """What the file holds, run inside."""
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT), str(TESTS / file)]
    done = systemd.run(argv, 200, HOLDFAST_TEST_SYSTEMD="1", PYTHONDONTWRITEBYTECODE="1")
    print(done.stdout[-4000:])
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


HOLDFAST = str(Path(sys.executable).parent / "holdfast")
HANG_S = 90.0
CREATE = (
    HOLDFAST, "cluster", "create", "demo", "--node", "n1", "--network", "management=10.77.0.0/24", "--address",
    "management=10.77.0.11", "--password-file", "/etc/password", "--set", "units=systemd", "--set", "watchdog=/dev/none",
    "--set", "cgroup=/sys/fs/cgroup/holdfast", "--no-start",
)  # fmt: skip
NETWORK = (
    "ip link add m0 type veth peer name m1 && ip address add 10.77.0.11/24 dev m0 && ip link set m0 up && ip link set m1 up"
    " && echo ten-characters-long >/etc/password"
)


def test_a_node_keeps_its_daemons_as_services_over_a_crash_of_its_agent(systemd: OwnSystemd) -> None:
    """Guard and agent as services, as in a real installation; store, manager and panel as those that the agent starts."""

    def must(*argv: str) -> str:
        done = systemd.run(argv)
        assert done.returncode == 0, (argv, done.stdout, done.stderr)
        return done.stdout

    def until(condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + HANG_S
        while not condition():
            assert time.monotonic() < end, (what, systemd.run(["tail", "-n5", "/var/log/agent.log"]).stdout)
            time.sleep(0.2)

    def up() -> bool:
        done = systemd.run([HOLDFAST, "status", "--json"])
        if done.returncode != 0:
            return False
        return [node["state"] for node in json.loads(done.stdout)["nodes"]] == ["up"]

    def main_pid(unit: str) -> int:
        return int(must("systemctl", "show", "--value", "--property=MainPID", f"{unit}.service"))

    must("sh", "-c", NETWORK)
    must(*CREATE)
    for name in ("guard", "agent"):
        daemon = str(Path(sys.executable).parent / f"holdfast-{name}")
        properties = ("DefaultDependencies=no", "Restart=always", "RestartSec=0.2", "KillMode=process")
        output = f"StandardError=append:/var/log/{name}.log"
        must("systemd-run", f"--unit=holdfast-{name}", *(f"-p{text}" for text in (*properties, output)), daemon)
    until(up, "n1 is up")
    units = ("holdfast-etcd", "holdfast-manager", "holdfast-panel")
    until(lambda: all(main_pid(unit) for unit in units), "they are services")
    before = {unit: main_pid(unit) for unit in units}
    rights = must("grep", "-E", "CapBnd|NoNewPrivs", f"/proc/{before['holdfast-etcd']}/status").split()
    assert (int(rights[1], 16), rights[3]) == (0, "1"), rights
    agent = main_pid("holdfast-agent")
    must("systemctl", "kill", "--signal=KILL", "holdfast-agent")
    until(lambda: main_pid("holdfast-agent") not in (0, agent), "systemd starts the agent anew")
    until(up, "n1 is up again")
    assert {unit: main_pid(unit) for unit in units} == before
    must("systemctl", "stop", "holdfast-agent")
    assert must("systemctl", "list-units", "--plain", "--no-legend", "--state=active", *units).strip() == ""
