"""Units as transient services, under a systemd that is process 1: the Runner's contract, and what is systemd's alone."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from own_systemd import OwnSystemd, own_systemd, possible
from systemd_node import SystemdNode

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


def test_after_the_way_back_an_older_versions_store_can_read_what_was_another_users(systemd: OwnSystemd) -> None:
    """The drop-in that the package leaves behind counts for a transient service that says it needs no capability."""
    prerm = (ROOT / "packaging/debian/holdfast.prerm").read_text()
    (text,) = re.findall(r"printf '(\[Service\].*)' >/etc/systemd/system/holdfast-etcd.service.d/older.conf", prerm)
    place = "/etc/systemd/system/holdfast-etcd.service.d"
    unit = ("--unit=holdfast-etcd.service", "-pDefaultDependencies=no", "-pCapabilityBoundingSet=", "sleep", "1000")
    node = SystemdNode(systemd)
    node.must("sh", "-c", f"mkdir -p {place}; printf '{text}' >{place}/older.conf; systemctl daemon-reload")
    node.must("systemd-run", *unit)
    assert int(node.rights_of(node.main_pid("holdfast-etcd.service"))["CapEff"], 16) == 1 << 1  # CAP_DAC_OVERRIDE
    node.must("sh", "-c", f"systemctl stop holdfast-etcd.service; rm -r {place}; systemctl daemon-reload")


def test_a_node_keeps_its_daemons_as_services_over_a_crash_of_its_agent(systemd: OwnSystemd) -> None:
    """Guard and agent as services, as in a real installation; store, manager and panel as those that the agent starts. The
    users of the package are not there: they run as root then, with no more capabilities."""
    node = SystemdNode(systemd)
    node.begin(users=False)
    units = ("holdfast-etcd.service", "holdfast-manager.service", "holdfast-panel.service")
    node.until(lambda: all(node.main_pid(unit) for unit in units), "they are services")
    before = {unit: node.main_pid(unit) for unit in units}
    rights = node.rights_of(before["holdfast-etcd.service"])
    assert (int(rights["CapBnd"], 16), rights["NoNewPrivs"]) == (0, "1"), rights
    node.crash_agent()
    assert {unit: node.main_pid(unit) for unit in units} == before
    node.must("systemctl", "stop", "holdfast-agent")
    active = node.must("systemctl", "list-units", "--plain", "--no-legend", "--state=active", *units)
    assert [line.split()[0] for line in active.splitlines()] == ["holdfast-panel.service"]  # it knows other members
