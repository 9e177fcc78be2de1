"""Secrets of fence devices and CHAP: locked where they are kept, open where they are used, and what if they are not."""

from dataclasses import replace

import pytest

from holdfast import locks
from holdfast.bootstrap import secrets
from holdfast.core.model import FenceDeviceSpec
from holdfast.errors import ConfigError, HoldfastError, InvalidInput
from holdfast.fencing.power.registry import PowerFenceRegistry
from holdfast.fencing.power.secrets import is_secret, locked_devices, opened
from holdfast.services.iscsi.chap import OpenGroups, locked_group
from holdfast.services.iscsi.config import ChapAccount, TargetGroup

SECRET = secrets.new_secret()
GROUP = TargetGroup(
    "g1",
    "iqn.2026-01.org.test:g1",
    "tgt",
    {"n1": ("10.0.0.1:3260",)},
    {"n1": 1},
    "iqn.2026-01.org.test:probe",
    ("iqn.2026-01.org.test:c",),
    ChapAccount("client", "correct.horse.12"),
    ChapAccount("target", "battery.staple.3"),
)
BMC = FenceDeviceSpec(
    "bmc", "redfish", {"url": "https://10.79.0.102", "username": "admin", "password": "geheim", "insecure": "true"}
)


@pytest.mark.parametrize("name", ["password", "passwd", "snmp_priv_passwd", "community", "snmp-auth-password", "token"])
def test_options_that_are_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name", ["url", "username", "ca", "ip", "lanplus", "password_script", "identity_file", "system"]
)
def test_options_that_are_none(name: str) -> None:
    assert not is_secret(name)


def test_a_devices_password_is_locked_once_and_opened_for_the_device() -> None:
    (stored,) = locked_devices([BMC], SECRET)
    assert "geheim" not in repr(stored) and stored.options["username"] == "admin"
    assert locked_devices([stored], SECRET) == (stored,), "what is locked stays as it is"
    assert opened(stored, lambda: SECRET) == BMC
    assert opened(BMC, lambda: pytest.fail("nothing is locked")) == BMC, "an earlier version's, in clear"
    PowerFenceRegistry(secret=lambda: SECRET).open(stored)
    with pytest.raises(ConfigError, match="does not unlock"):
        PowerFenceRegistry(secret=secrets.new_secret).open(stored)


def test_what_looks_like_locked_is_refused_as_a_secret() -> None:
    with pytest.raises(InvalidInput, match="cannot begin with"):
        locks.marked("locked:me", SECRET)


def test_chap_is_open_for_targets_and_closed_in_the_store() -> None:
    stored = locked_group(GROUP, SECRET)
    assert "horse" not in repr(stored.chap) + str(stored) and locked_group(stored, SECRET) == stored
    groups = OpenGroups(lambda: {"g1": stored}, lambda: SECRET)
    assert groups() == {"g1": GROUP}
    assert OpenGroups(lambda: {"g1": GROUP}, lambda: pytest.fail("nothing is locked"))() == {"g1": GROUP}


def test_a_secret_that_cannot_be_opened_takes_no_target_away_and_lets_nobody_in() -> None:
    """The cluster's secret is being changed: the record is locked with one that this node has not got yet."""
    newer = secrets.new_secret()
    stored = {"g1": locked_group(GROUP, SECRET)}
    have = [SECRET]
    groups = OpenGroups(lambda: stored, lambda: have[0])
    groups()
    stored["g1"] = replace(locked_group(GROUP, newer), initiators=())
    found = groups()["g1"]
    assert (found.chap, found.initiators) == (GROUP.chap, ()), "what was opened last goes on to count"
    have[0] = newer + SECRET
    assert groups()["g1"].chap == GROUP.chap
    fresh = OpenGroups(lambda: stored, secrets.new_secret)
    shut = fresh()["g1"]
    assert shut.chap is not None and shut.chap.secret not in ("", "correct.horse.12", stored["g1"].chap)
    shut.target("n1")  # an engine takes it
    assert fresh()["g1"] == shut, "the same at each look, or targets would be set up anew all the time"


def test_secrets_that_changed_twice_open_what_each_of_them_locked() -> None:
    first, second, third = (secrets.new_secret() for _ in range(3))
    together = third + second + first
    for one in (first, second, third):
        assert locks.unlock(locks.lock(b"x", one), together) == b"x"
    assert locks.is_current(locks.lock(b"x", together), third)
    for bad in (b"", b"short", together + b"x"):
        with pytest.raises(HoldfastError):
            locks.unlock(locks.lock(b"x", first), bad)
