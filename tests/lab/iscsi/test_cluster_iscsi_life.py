"""What an operator does with target groups and volumes by the command line, as initiators outside the cluster see it."""

import json

import pytest
from iscsi_talk import GROUP, INITIATOR, NODES, Iscsi, nothing_lost

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

MIB = 1 << 20
SECRET, WRONG = "right-secret-16.", "wrong-secret-16."
REFUSED, NOT_PROVEN = dict.fromkeys(NODES, "2/3"), dict.fromkeys(NODES, "2/1")
"""tgt tells a stranger that there is no such target."""
IN = dict.fromkeys(NODES, "in")


def test_who_may_log_in(cluster: Iscsi) -> None:
    created = json.loads(cluster.iscsi("target-group", "create", "locked", "--nodes", ",".join(NODES), "--json"))
    iqn = created["data"]["iqn"]
    assert cluster.log_in(iqn=iqn) == REFUSED
    cluster.iscsi("target-group", "acl", "add", "locked", INITIATOR)
    cluster.until(lambda: cluster.log_in(iqn=iqn) == IN, "the initiator may log in on every node")
    stranger = INITIATOR.replace("client", "stranger")
    assert cluster.log_in(stranger, iqn=iqn) == REFUSED
    assert cluster.log_in(stranger) == REFUSED

    words = ["iscsi", "target-group", "chap", "set", "locked", "--user", "guest", "--secret-file", "-"]
    assert cluster.ask("n1", *words, stdin=f"{SECRET}\n").returncode == 0
    right, wrong = cluster.chap_file("guest", SECRET), cluster.chap_file("guest", WRONG)
    cluster.until(lambda: cluster.log_in(iqn=iqn, chap=wrong) == NOT_PROVEN, "a wrong secret is refused on every node")
    assert cluster.log_in(iqn=iqn) == NOT_PROVEN, "so is none"
    assert cluster.log_in(iqn=iqn, chap=right) == IN
    assert SECRET not in cluster.iscsi("target-group", "show", "locked", "--json")

    cluster.iscsi("target-group", "acl", "remove", "locked", INITIATOR)
    cluster.until(lambda: cluster.log_in(iqn=iqn, chap=right) == REFUSED, "the right secret alone does not help")
    cluster.iscsi("target-group", "delete", "locked")
    assert cluster.log_in() == IN, "other groups are not concerned"


def test_the_life_of_a_volume(cluster: Iscsi) -> None:
    cluster.iscsi("volume", "create", "four", "--size", "8MiB")
    attached = json.loads(cluster.iscsi("volume", "attach", "four", GROUP, "--json"))
    lun = attached["data"]["lun"]
    assert lun == 4
    assert f"attached to `{GROUP}` already" in cluster.refused("iscsi", "volume", "attach", "four", GROUP)
    journal = cluster.begin_journal("four", lun)
    cluster.until(lambda: len(journal.background.said) > 300, "it writes")
    assert cluster.size(lun) == 8 * MIB
    assert "smaller under its clients" in cluster.refused("iscsi", "volume", "resize", "four", "4MiB")
    cluster.iscsi("volume", "resize", "four", "12MiB")
    cluster.until(lambda: cluster.size(lun) == 12 * MIB, "a client sees it grown")
    assert "may be in use" in cluster.refused("iscsi", "volume", "detach", "four")
    summary = journal.finish()
    nothing_lost(summary)
    print(f"grown while in use: writes stalled {summary['max_stall_s']} s")

    cluster.iscsi("volume", "detach", "four", "--force")
    assert cluster.executors("four") == []
    assert cluster.size(lun) == 0, "no portal serves it"
    assert "holds data" in cluster.refused("iscsi", "volume", "resize", "four", "4KiB")
    cluster.iscsi("volume", "attach", "four", GROUP)
    again = json.loads(cluster.iscsi("volume", "show", "four", "--json"))
    assert f"3{again['wwid']}" == summary["wwid"]
    assert cluster.size(lun) == 12 * MIB
    cluster.iscsi("volume", "detach", "four", "--force")
    assert "would be lost" in cluster.refused("iscsi", "volume", "delete", "four")
    assert cluster.file("four").exists()
    cluster.iscsi("volume", "delete", "four", "--yes")
    assert not cluster.file("four").exists()
