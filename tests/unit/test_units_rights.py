"""What each daemon may do (core/rights.py) is what the package's units, its users and the documentation say."""

import re
from pathlib import Path

import pytest

from holdfast.agent.runner_systemd import AS_THE_AGENT
from holdfast.core import rights
from holdfast.core.rights import AGENT, DAEMONS, Rights

ROOT = Path(__file__).parents[2]
UNITS, USERS = ROOT / "packaging/systemd", ROOT / "packaging/debian/holdfast.sysusers"
SECURITY = ROOT / "docs/security.md"
INHERITED = (
    "CapabilityBoundingSet",
    "RestrictAddressFamilies",
    "LockPersonality",
    "SystemCallArchitectures",
    "SystemCallFilter",
    "SystemCallErrorNumber",
)


def settings(lines: list[str]) -> dict[str, set[str]]:
    """Name → all words; of several lines of one name those of all."""
    found: dict[str, set[str]] = {}
    for name, _, value in (line.partition("=") for line in lines):
        if name in INHERITED:
            found.setdefault(name, set()).update(value.removeprefix("~").split())
    return found


def test_services_of_systemd_may_do_no_more_than_children_of_the_agent() -> None:
    wanted = settings((UNITS / "holdfast-agent.service").read_text().splitlines())
    assert set(wanted) == set(INHERITED)
    assert settings(list(AS_THE_AGENT)) == wanted


def test_the_agent_has_what_it_may_give() -> None:
    assert set(AGENT) >= {name for each in DAEMONS.values() for name in each.capabilities or ()}
    assert not {"CAP_SYS_MODULE", "CAP_SYS_TIME", "CAP_SYS_BOOT", "CAP_BPF", "CAP_MAC_ADMIN", "CAP_SYSLOG"} & set(AGENT)


@pytest.mark.parametrize("name", sorted(DAEMONS))
def test_every_daemon_says_what_it_needs_and_cannot_get_more(name: str) -> None:
    each = DAEMONS[name]
    assert each.capabilities is not None, "the table is there to say which"
    assert each.why
    assert each.no_new_privileges or name == "libvirtd", "it runs QEMU, which gives up everything by itself"
    assert all(re.fullmatch(r"[A-Z][A-Za-z]+=.+", line) for line in each.hardening)


def test_the_package_makes_the_users_and_takes_them_away() -> None:
    lines = [line.split() for line in USERS.read_text().splitlines()]
    users = {line[1] for line in lines if line[0] == "u"}
    groups = {line[1] for line in lines if line[0] == "g"}
    members = {(line[1], line[2]) for line in lines if line[0] == "m"}
    assert users == {each.user for each in DAEMONS.values() if each.user}
    assert groups == {group for each in DAEMONS.values() for group in each.groups}
    assert members == {(each.user, group) for each in DAEMONS.values() for group in each.groups}
    purge = (ROOT / "packaging/debian/holdfast.postrm").read_text()
    assert all(re.search(rf"\b{name}\b", purge) for name in users | groups)


def row(name: str, each: Rights) -> str:
    """As the documentation has it."""
    user = each.user or "root"
    may = ", ".join(f"`{one}`" for one in each.capabilities or ()) or "none"
    return f"| {name} | {user}{f', then {each.becomes}' if each.becomes else ''} | {may} | {each.why} |"


@pytest.mark.parametrize("name", sorted(DAEMONS))
def test_the_documentation_has_the_same_table(name: str) -> None:
    assert row(name, DAEMONS[name]) in SECURITY.read_text().splitlines()


def test_the_table_has_no_other_daemon() -> None:
    table = SECURITY.read_text().partition("## Daemons")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("|") and not line.startswith(("| daemon", "|---"))]
    own = {row(name, each) for name, each in DAEMONS.items()}
    assert {line for line in rows if line not in own} == {agent_row(), guard_row()}


def agent_row() -> str:
    return next(line for line in SECURITY.read_text().splitlines() if line.startswith("| agent |"))


def guard_row() -> str:
    return next(line for line in SECURITY.read_text().splitlines() if line.startswith("| guard |"))


def test_agent_and_guard_are_told_as_their_units_have_them() -> None:
    agent = ", ".join(f"`{one}`" for one in AGENT)
    assert f"| agent | root | {agent} |" in agent_row()
    guard = settings((UNITS / "holdfast-guard.service").read_text().splitlines())["CapabilityBoundingSet"]
    assert f"| guard | root | {', '.join(f'`{one}`' for one in sorted(guard))} |" in guard_row()


def test_the_number_of_s3_servers_is_nobodys() -> None:
    """What systemd names as unused: 1879048192 to 2147483647 (2³¹ − 1)."""
    assert 1_879_048_192 <= rights.SHARED_UID < 2**31
