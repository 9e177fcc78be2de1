"""What Linux clients of a target group are told."""

import re

import pytest

from holdfast.services.iscsi import client_config, names
from holdfast.services.iscsi.client_config import PLACEHOLDER, VENDORS

IQN = "iqn.2026-01.org.holdfast:demo:g1"
PORTALS = ["10.78.0.11:3260", "[fd78::12]:3260"]


def value(text: str, key: str) -> str:
    found = re.search(rf"^\s*{key} (.*)$", text, re.M)
    return found[1] if found else ""


def test_lio_is_used_by_alua_and_tgt_by_what_answers() -> None:
    lio, tgt = (client_config.client_config(IQN, engine, PORTALS) for engine in ("lio", "tgt"))
    assert (value(lio.multipath, "prio"), value(lio.multipath, "path_grouping_policy")) == ("alua", "group_by_prio")
    assert value(lio.multipath, "failback") == "immediate"
    assert (value(tgt.multipath, "prio"), value(tgt.multipath, "path_grouping_policy")) == ("const", "failover")
    assert value(tgt.multipath, "failback") == "manual"
    for found in (lio, tgt):
        assert value(found.multipath, "no_path_retry") == "queue"
        assert value(found.multipath, "path_checker") == "tur"
        assert found.multipath.count("{") == found.multipath.count("}") == 5
    assert not lio.units


@pytest.mark.parametrize("engine", list(VENDORS))
def test_the_disks_that_multipathd_takes_are_volumes(engine: str) -> None:
    text = client_config.multipath_conf(engine)
    wwid = value(text.partition("blacklist_exceptions")[2], "wwid").strip('"')
    assert re.search(wwid, "3" + names.wwid("6b0223c6-96db-4c8e-b276-fcfb4fa0e180"))
    assert value(text, "vendor") == f'"{VENDORS[engine]}"'


def test_every_portal_is_asked_and_logged_in_to() -> None:
    found = client_config.client_config(IQN, "tgt", PORTALS).commands
    for portal in PORTALS:
        discovery = f"iscsiadm --mode discovery --type sendtargets --portal {portal}"
        login = f"iscsiadm --mode node --targetname {IQN} --portal {portal} --login"
        assert found.index(discovery) < found.index(login)
    assert "systemctl enable --now holdfast-iscsi-scan.timer" in found
    assert "scan" not in " ".join(client_config.client_config(IQN, "lio", PORTALS).commands)


def test_tgts_scan_looks_for_disks_and_never_asks_known_ones_again() -> None:
    units = client_config.scan_units("tgt")
    service, timer = (units[f"/etc/systemd/system/holdfast-iscsi-scan.{kind}"] for kind in ("service", "timer"))
    assert "$${host##*/}/scan" in service and not re.search(r"[^$]\$\{", service), "systemd would replace it"
    assert "rescan" not in service
    assert f"OnUnitInactiveSec={client_config.SCAN_S}\n" in timer


def test_secrets_are_placeholders() -> None:
    assert not client_config.chap_settings("", "")
    found = client_config.client_config(IQN, "lio", PORTALS, chap_user="client", mutual_user="target")
    assert found.iscsid["node.session.auth.username"] == "client"
    assert found.iscsid["node.session.auth.password"] == found.iscsid["node.session.auth.password_in"] == PLACEHOLDER
    assert "node.session.auth.username_in = target\n" in client_config.iscsid_conf(found.iscsid)
