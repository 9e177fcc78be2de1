"""Lab nodes: booting, separation, power, what survives it and what does not."""

import time
from pathlib import Path

import pytest
from lab_talk import (
    CLOCK_OFFSET_S,
    FEED_WATCHDOG,
    PYTHON,
    SIZE,
    TCP_CLIENT,
    TCP_SERVER,
    hear,
    reaches,
    redfish,
    say,
    talk,
    until,
)

from holdfast.errors import HoldfastError
from holdfast.lab import LabClient

pytestmark = pytest.mark.lab
ROOT = Path(__file__).resolve().parents[3]


def out(lab: LabClient, host: str, script: str) -> str:
    return lab.exec(host, ["sh", "-c", script], check=True).stdout.strip()


def test_nodes_reach_each_other_on_every_network(bare_lab: LabClient) -> None:
    for source in ("n1", "client"):
        for address in ("10.77.0.12", "10.78.0.13", "fd77::12", "fd78::13"):
            assert reaches(bare_lab, source, address), f"{source} → {address}"
    assert reaches(bare_lab, "n1", "10.79.0.12")
    assert not reaches(bare_lab, "client", "10.79.0.12", timeout_s=1)


def test_a_node_has_its_own_names_processes_devices_and_group(bare_lab: LabClient) -> None:
    assert out(bare_lab, "n2", "hostname; cat /etc/hostname") == "n2\nn2"
    assert out(bare_lab, "n2", "ps -o args= -p 1").startswith("/usr/bin/tini")
    assert out(bare_lab, "n1", "cat /etc/machine-id") != out(bare_lab, "n2", "cat /etc/machine-id")
    assert out(bare_lab, "n1", "cat /proc/self/cgroup | tail -1") == "0::/"
    assert out(bare_lab, "n1", "mkdir -p /sys/fs/cgroup/holdfast/strict && ls -d /sys/fs/cgroup/holdfast/strict")
    # Of the machine's own /tmp only the way to this checkout, if it lies there, is seen.
    ours = ROOT.parts[2:3] if ROOT.is_relative_to("/tmp") else ()
    assert out(bare_lab, "n1", "ls -A /tmp /shared").split() == ["/shared:", "/tmp:", *ours]
    assert bare_lab.exec("n1", ["sh", "-c", f"ls -A {bare_lab.state_dir}"]).stdout == ""
    assert bare_lab.exec("n1", ["sh", "-c", "echo 1 > /proc/sys/kernel/panic"]).returncode != 0


def test_shared_storage_is_one_and_no_overlay(bare_lab: LabClient) -> None:
    out(bare_lab, "n1", "echo seen > /shared/x")
    assert out(bare_lab, "n2", "cat /shared/x; rm /shared/x; stat -f -c %T /shared") != "seen\noverlayfs"


def test_a_node_has_the_size_it_was_given(bare_lab: LabClient) -> None:
    script = "from holdfast.agent.identity import capacity; print(*capacity())"
    sizes = {n: bare_lab.exec(n, [PYTHON, "-c", script], check=True).stdout.split() for n in ("n1", "n2")}
    cores, memory_mib = SIZE
    assert sizes["n2"] == [f"{cores:.1f}", str(memory_mib)]
    assert sizes["n1"] != sizes["n2"], "the machine's own"
    assert int(out(bare_lab, "n2", "free -m").split()[7]) == memory_mib, "programs see it too"


def test_a_clock_offset_is_the_nodes_alone(bare_lab: LabClient) -> None:
    script = "import time; print(time.clock_gettime(time.CLOCK_BOOTTIME))"
    here, there = (float(bare_lab.exec(n, [PYTHON, "-c", script], check=True).stdout) for n in ("n1", "n3"))
    assert CLOCK_OFFSET_S <= there - here < CLOCK_OFFSET_S + 60


def test_power_cycle_keeps_the_disk_and_nothing_else(bare_lab: LabClient) -> None:
    out(bare_lab, "n1", "for d in /etc /var/lib /run /tmp; do touch $d/lab-test; done")
    out(bare_lab, "n1", "ip addr add 10.77.0.99/32 dev eth0")
    ids = "cat /etc/machine-id /proc/sys/kernel/random/boot_id; cat /sys/class/net/eth0/address"
    before = out(bare_lab, "n1", ids).split()
    bare_lab.fail("n1", "power")
    assert bare_lab.state("n1")["power"] == "off"
    with pytest.raises(HoldfastError, match="n1 is off"):
        bare_lab.exec("n1", ["true"])
    bare_lab.heal("n1")
    after = out(bare_lab, "n1", ids).split()
    assert (before[0], before[2]) == (after[0], after[2])
    assert before[1] != after[1]
    assert out(bare_lab, "n1", "ls -d /*/lab-test /*/*/lab-test") == "/etc/lab-test\n/var/lib/lab-test"
    assert "10.77.0.99" not in out(bare_lab, "n1", "ip addr")
    assert reaches(bare_lab, "n1", "10.77.0.12")


def test_power_loss_sends_no_farewell_to_clients(bare_lab: LabClient) -> None:
    with talk(bare_lab, "n1", PYTHON, "-c", TCP_SERVER) as server:
        assert hear(server) == "ready"
        with talk(bare_lab, "client", PYTHON, "-c", TCP_CLIENT, "10.77.0.11") as client:
            assert hear(client) == "connected"
            bare_lab.fail("n1", "power")
            # Everything that could still leak has left by the time the next boot answers.
            bare_lab.heal("n1")
            until(lambda: reaches(bare_lab, "client", "10.77.0.11"), "n1 answers after its boot")
            say(client, "look")
            assert hear(client) == "silence"


def test_freeze_stops_everything_and_thaw_continues_it(bare_lab: LabClient) -> None:
    with talk(bare_lab, "n1", "sh", "-c", "while read word; do echo $word; done") as echo:
        say(echo, "before")
        assert hear(echo) == "before"
        bare_lab.fail("n1", "freeze")
        say(echo, "frozen")
        assert hear(echo, timeout_s=0.5) == ""
        bare_lab.heal("n1")
        assert hear(echo) == "frozen"


def test_a_frozen_node_can_lose_its_power(bare_lab: LabClient) -> None:
    bare_lab.fail("n1", "freeze")
    bare_lab.fail("n1", "power")
    assert bare_lab.state("n1")["power"] == "off"
    bare_lab.heal("n1")
    assert out(bare_lab, "n1", "echo alive") == "alive"


@pytest.mark.parametrize("end", ["killed", "frozen"])
def test_the_watchdog_resets_a_node_that_stops_feeding_it(bare_lab: LabClient, end: str) -> None:
    boots = bare_lab.state("n1")["boots"]
    with talk(bare_lab, "n1", PYTHON, "-c", FEED_WATCHDOG) as feeder:
        assert hear(feeder) == "armed"
        assert bare_lab.state("n1")["watchdog"]["armed"]
        if end == "frozen":
            bare_lab.fail("n1", "freeze")
        else:
            feeder.kill()
        until(lambda: bare_lab.state("n1")["boots"] == boots + 1, "the watchdog fired and the node boots again")
    bare_lab.wait_power("n1", "on")
    fired = [e for e in bare_lab.events() if e["kind"] == "watchdog-fired" and e.get("boots") == boots]
    assert len(fired) == 1
    assert not bare_lab.state("n1")["watchdog"]["armed"]
    assert out(bare_lab, "n1", "echo alive") == "alive"


def test_a_fed_watchdog_leaves_the_node_alone(bare_lab: LabClient) -> None:
    boots = bare_lab.state("n1")["boots"]
    with talk(bare_lab, "n1", PYTHON, "-c", FEED_WATCHDOG) as feeder:
        assert hear(feeder) == "armed"
        time.sleep(1.5)  # longer than its time-out of 1 s: nothing must happen, so there is nothing to wait for
        assert bare_lab.state("n1")["boots"] == boots
        bare_lab.fail("n1", "power")


def test_the_bmc_switches_its_node_off_and_on(bare_lab: LabClient) -> None:
    assert redfish(bare_lab, "n2", "n1").stdout.strip() == "On"
    assert redfish(bare_lab, "n2", "n1", "ForceOff").returncode == 0
    until(lambda: redfish(bare_lab, "n2", "n1").stdout.strip() == "Off", "the BMC reports Off")
    assert bare_lab.state("n1")["power"] == "off"
    redfish(bare_lab, "n2", "n1", "On")
    bare_lab.wait_power("n1", "on")


def test_a_bmc_can_be_unreachable_or_lie(bare_lab: LabClient) -> None:
    bare_lab.fail("n1", "bmc")
    assert redfish(bare_lab, "n2", "n1").returncode != 0
    bare_lab.heal("n1")
    assert redfish(bare_lab, "n2", "n1").stdout.strip() == "On"
    bare_lab.fail("n1", "bmc", mode="lie")
    redfish(bare_lab, "n2", "n1", "ForceOff")
    assert redfish(bare_lab, "n2", "n1").stdout.strip() == "Off"
    assert bare_lab.state("n1")["power"] == "on"


def test_shutdown_is_graceful_and_ends_with_power_off(bare_lab: LabClient) -> None:
    bare_lab.fail("n1", "shutdown")
    bare_lab.wait_power("n1", "off")
    until(lambda: bare_lab.events()[-1]["kind"] == "shutdown", "the end is noted as a shutdown")


def test_a_node_that_loses_the_shared_storage_sees_errors_and_no_empty_directory(bare_lab: LabClient) -> None:
    bare_lab.fail("n1", "storage")
    assert "not connected" in bare_lab.exec("n1", ["touch", "/shared/lost"]).stderr
    out(bare_lab, "n2", "touch /shared/kept")
    bare_lab.fail("n1", "power")
    bare_lab.heal("n1")
    assert out(bare_lab, "n1", "ls /shared; rm /shared/kept") == "kept"


def test_commands_report_their_status_and_die_with_their_caller(bare_lab: LabClient) -> None:
    assert bare_lab.exec("n1", ["sh", "-c", "exit 7"]).returncode == 7
    assert bare_lab.exec("n1", ["cat"], stdin="said").stdout == "said"
    assert bare_lab.exec("n1", ["no-such-command"]).returncode == 127
    with talk(bare_lab, "n1", "sleep", "1000"):
        until(lambda: "sleep 1000" in out(bare_lab, "n1", "ps -eo args"), "the command runs")
    until(lambda: "sleep 1000" not in out(bare_lab, "n1", "ps -eo args"), "the command ended with its caller")


def test_no_such_host_fault_or_network(bare_lab: LabClient) -> None:
    for node, how, details in (
        ("n9", "power", {}),
        ("n1", "flood", {}),
        ("n1", "network", {"network": "moon"}),
        ("n1", "network", {"to": "n9"}),
        ("n1", "bmc", {"mode": "sulk"}),
        ("client", "bmc", {}),
        ("n1", "agent", {}),
        ("n1", "hang", {}),
        ("n1", "slow-disk", {}),
    ):
        with pytest.raises(HoldfastError) as caught:
            bare_lab.fail(node, how, **details)
        assert caught.value.advice
    assert [s["faults"] for s in bare_lab.status()] == [[], [], [], []]


def test_logs_are_readable_from_outside_also_when_the_node_is_off(bare_lab: LabClient) -> None:
    out(bare_lab, "n1", "mkdir -p /var/log/holdfast; echo line > /var/log/holdfast/nfs%2Fvol1.log")
    bare_lab.fail("n1", "power")
    assert bare_lab.log_file("n1", "nfs/vol1").read_text() == "line\n"
    assert isinstance(bare_lab.log_file("n1", "etcd"), Path)
