"""Names, accounts and numbers of iSCSI engines: what is refused, and what follows from a volume's UUID."""

import uuid
from typing import Any

import pytest

from holdfast.errors import InvalidInput
from holdfast.services.iscsi import names, tgt_report
from holdfast.services.iscsi.engine import Account, Portal, Target, Volume
from holdfast.services.iscsi.tgt_control import Ask, Mode, Op

IQN = "iqn.2026-01.org.holdfast:g1"


@pytest.mark.parametrize(
    "name",
    [
        IQN,
        "iqn.2001-04.com.example",
        "iqn.1992-08.com.netapp:sn.84:vf-1_2",
        "eui.02004567A425678D",
        "naa.52004567BA64678D",
        "naa.62004567BA64678D0123456789ABCDEF",
        "iqn.2026-01.org.x:" + "a" * 205,
    ],
)
def test_good_names(name: str) -> None:
    names.check_name(name, "target")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        "iqn",
        "iqn.",
        "iqn.2026.org.x:a",
        "iqn.2026-13.org.x:a",
        "iqn.2026-1.org.x:a",
        "IQN.2026-01.org.x:a",
        "iqn.2026-01.org.x:A",
        "iqn.2026-01.org.x:a b",
        "iqn.2026-01.org.x:a,b",
        "iqn.2026-01.org.x:",
        "iqn.2026-01.:a",
        "iqn.2026-01.org.x:a\n",
        "iqn.2026-01.org.x:é",
        "eui.02004567A425678",
        "eui.02004567a425678d",
        "naa.5200",
        "iqn.2026-01.org.x:../../y",
        "iqn.2026-01.org.x:a/b",
        "iqn.2026-01.org.x:" + "a" * 206,
    ],
)
def test_bad_names(name: str) -> None:
    with pytest.raises(InvalidInput, match="not the name of an iSCSI initiator"):
        names.check_name(name, "initiator")


def test_what_follows_from_a_uuid() -> None:
    volume = "0f0e0d0c-0b0a-4908-8706-050403020100"
    assert names.serial(volume) == "0f0e0d0c0b0a49088706050403020100"
    assert names.wwid(volume) == "60014050f0e0d0c0b0a4908870605040"
    for wrong in ("", "x", volume.upper(), volume.replace("-", ""), f"{{{volume}}}"):
        with pytest.raises(InvalidInput):
            names.serial(wrong)


def test_portals() -> None:
    assert str(Portal("10.0.0.1")) == "10.0.0.1:3260" and str(Portal("fd00::1", 3261)) == "[fd00::1]:3261"
    for address, port in (("host", 3260), ("10.0.0", 3260), ("FD00::1", 3260), ("10.0.0.1", 0), ("10.0.0.1", 65536)):
        with pytest.raises(InvalidInput):
            Portal(address, port)


@pytest.mark.parametrize(
    ("user", "secret"),
    [
        ("", "x" * 12),
        ("a b", "x" * 12),
        ("a,b", "x" * 12),
        ("joe", "x" * 11),
        ("joe", "x" * 65),
        ("joe", "x,yyyyyyyyyyyy"),
        ("joe", "spaces are bad"),
        ("joe", "é" * 12),
        ("joe", "x" * 12 + "\n"),
    ],
)
def test_bad_accounts(user: str, secret: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Account(user, secret)
    assert not secret or secret not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "g1"},
        {"portals": ()},
        {"tag": 0},
        {"tag": 65536},
        {"initiators": ("me",)},
        {"mutual": Account("t", "x" * 12)},
        {"chap": Account("joe", "x" * 12), "mutual": Account("joe", "y" * 12)},
        {"chap": Account("joe", "x" * 12), "mutual": Account("t", "x" * 12)},
    ],
)
def test_bad_targets(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Target(**{"name": IQN, "portals": (Portal("10.0.0.1"),), **wrong})


@pytest.mark.parametrize(
    "wrong",
    [
        {"lun": 0},
        {"lun": 256},
        {"uuid": "x"},
        {"path": "volume"},
        {"path": "/a/../b"},
        {"path": "/a,b"},
        {"path": "/a b"},
        {"size_bytes": 0},
        {"size_bytes": 1000},
        {"target": "g1"},
    ],
)
def test_bad_volumes(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Volume(**{"target": IQN, "lun": 1, "uuid": str(uuid.uuid4()), "path": "/a/b", "size_bytes": 512, **wrong})


def test_the_words_for_tgtd_are_those_of_tgtadm() -> None:
    """Recorded from tgtadm 1.0.85: `--mode logicalunit --op new --tid 3 --lun 5 -E rdwr --bsoflags sync:direct`."""
    ask = Ask(Mode.LUN, Op.NEW, 3, "bstype=rdwr,bsoflags=sync:direct", lun=5)
    header = bytes.fromhex("0200000000000000") + b"iscsi".ljust(64, b"\0") + bytes.fromhex("9900000003000000")
    assert (
        ask.encode()
        == header + bytes(8) + (5).to_bytes(8, "little") + bytes(24) + b"bstype=rdwr,bsoflags=sync:direct\0"
    )
    assert "secret" not in str(Ask(Mode.ACCOUNT, Op.NEW, words="user=joe,password=secret"))


REPORT = """\
Target 7: iqn.2026-01.org.holdfast:g1
    System information:
        Driver: iscsi
        State: ready
    I_T nexus information:
        I_T nexus: 16
            Initiator: iqn.x:t alias: none
            Connection: 0
                IP Address: 127.0.0.1
    LUN information:
        LUN: 0
            Type: controller
            Online: Yes
        LUN: 5
            Type: disk
            SCSI ID: 60014050
            SCSI SN: 0f0e
            Online: Yes
            Removable media: No
            Readonly: No
            Backing store path: /srv/a
            Backing store flags: sync:direct
        LUN: 6
            Something: new
    Account information:
        joe
        target (outgoing)
    ACL information:
        iqn.x:t
Target 9: iqn.2026-01.org.holdfast:g2
    LUN information:
    ACL information:
"""


def test_reading_what_tgtd_says() -> None:
    found = tgt_report.targets(REPORT)
    assert set(found) == {IQN, "iqn.2026-01.org.holdfast:g2"}
    target = found[IQN]
    assert (target.tid, target.nexuses, target.users, target.outgoing) == (7, 1, {"joe"}, {"target"})
    assert target.acl == {"iqn.x:t"} and set(target.units) == {5, 6}
    unit = target.units[5]
    assert (unit.serial, unit.path, unit.online, unit.removable, unit.readonly) == (
        "0f0e",
        "/srv/a",
        True,
        False,
        False,
    )
    unknown = target.units[6]
    assert not unknown.online and unknown.removable and unknown.readonly
    assert tgt_report.targets("") == {}


def test_reading_connections_and_portals() -> None:
    text = "Session: 16\n    Connection: 0\n        Initiator: iqn.x:t\n        IP Address: 127.0.0.1\n"
    (found,) = tgt_report.connections(text)
    assert (found.sid, found.cid, found.initiator, found.address) == (16, 0, "iqn.x:t", "127.0.0.1")
    assert tgt_report.portals("Portal: 127.0.0.11:3260,1\nPortal: [fd00::1]:3260,1\n") == {
        "127.0.0.11:3260",
        "[fd00::1]:3260",
    }
