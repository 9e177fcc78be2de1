"""What a Linux client of a target group (open-iscsi, multipathd) is told: settings, commands, a scan timer for tgt. Pure.

The figures behind them stand in docs/iscsi.md; the lab's guest (`lab/guest/iscsi.py`) runs with these.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ENGINES = ("lio", "tgt")
"""In this order of preference."""

NOOP_INTERVAL_S = 1
NOOP_TIMEOUT_S = 2
"""A silent portal is given up this long after the interval. Below 2 s, busy machines take living paths for dead ones."""
REPLACEMENT_S = 0
"""How long commands stay with a path that was given up: there are others, and multipathd keeps what none can serve."""
LOGIN_S = 5
SCAN_S = 5
"""Period of the scan that finds a tgt group's disks at paths that have not been active before."""
VENDORS = {"lio": "LIO-ORG", "tgt": "HOLDFAST"}
"""Engine → what its volumes answer to INQUIRY."""
WWIDS = "^36001405"
"""How the names of volumes begin on Linux (`names.wwid`)."""
PLACEHOLDER = "<the secret>"
"""Stands where the operator's own secret belongs: secrets are never shown."""

_COMMON = {
    "path_checker": "tur",
    "no_path_retry": "queue",
    "fast_io_fail_tmo": "off",  # else multipathd overrules iscsid's replacement_timeout
}
_PATHS = {
    "lio": {
        "path_grouping_policy": "group_by_prio",
        "prio": "alua",
        "hardware_handler": '"1 alua"',
        "failback": "immediate",
    },
    "tgt": {"path_grouping_policy": "failover", "prio": "const", "failback": "manual"},
}
_SCAN = "for host in /sys/class/iscsi_host/host*; do echo '- - -' > /sys/class/scsi_host/${host##*/}/scan & done; wait"
_UNITS = "/etc/systemd/system/holdfast-iscsi-scan"


@dataclass(frozen=True, slots=True)
class InitiatorConfig:
    """What to write where at the client, and what to run there, in this order."""

    multipath: str
    """/etc/multipath.conf."""
    iscsid: dict[str, str]
    """Settings of /etc/iscsi/iscsid.conf, to be made before the portals are discovered; of known ones: `iscsiadm -m node -o
    update -n NAME -v VALUE`."""
    commands: tuple[str, ...]
    units: dict[str, str]
    """Path → text of systemd units; empty where none are needed."""


def client_config(
    iqn: str, engine: str, portals: Iterable[str], *, chap_user: str = "", mutual_user: str = ""
) -> InitiatorConfig:
    """`portals`: of all nodes of the group, as `ADDRESS:PORT`."""
    iscsid = {**iscsid_settings(), **chap_settings(chap_user, mutual_user)}
    units = scan_units(engine)
    return InitiatorConfig(multipath_conf(engine), iscsid, _commands(iqn, tuple(portals), scan=bool(units)), units)


def multipath_conf(engine: str) -> str:
    """A complete /etc/multipath.conf for a client whose only multipath disks are Holdfast's."""
    device = {"vendor": f'"{VENDORS[engine]}"', "product": '".*"', **_PATHS[engine], **_COMMON}
    return "\n".join(
        (
            *_section("defaults", {"find_multipaths": "no", "polling_interval": "1", "max_polling_interval": "1"}),
            *_section("blacklist", {"wwid": '".*"'}),
            *_section("blacklist_exceptions", {"wwid": f'"{WWIDS}"'}),
            "devices {",
            *(f"    {line}" for line in _section("device", device)),
            "}",
            "",
        )
    )


def _section(name: str, settings: Mapping[str, str]) -> list[str]:
    return [f"{name} {{", *(f"    {key} {value}" for key, value in settings.items()), "}"]


def iscsid_settings() -> dict[str, str]:
    """The same for every engine."""
    return {
        "node.startup": "automatic",
        "node.session.timeo.replacement_timeout": str(REPLACEMENT_S),
        "node.conn[0].timeo.noop_out_interval": str(NOOP_INTERVAL_S),
        "node.conn[0].timeo.noop_out_timeout": str(NOOP_TIMEOUT_S),
        "node.conn[0].timeo.login_timeout": str(LOGIN_S),
    }


def chap_settings(
    chap_user: str, mutual_user: str, secret: str = PLACEHOLDER, mutual_secret: str = PLACEHOLDER
) -> dict[str, str]:
    """By which the client proves who it is, and with a mutual user asks the target for the same."""
    if not chap_user:
        return {}
    found = {
        "node.session.auth.authmethod": "CHAP",
        "node.session.auth.username": chap_user,
        "node.session.auth.password": secret,
    }
    if mutual_user:
        found |= {"node.session.auth.username_in": mutual_user, "node.session.auth.password_in": mutual_secret}
    return found


def iscsid_conf(settings: Mapping[str, str]) -> str:
    """As lines of iscsid.conf."""
    return "".join(f"{key} = {value}\n" for key, value in settings.items())


def _commands(iqn: str, portals: tuple[str, ...], *, scan: bool) -> tuple[str, ...]:
    """All paths are logged in to, also those that are standby now: a failover then needs no login. A node tells of its own
    portals only, so each is asked."""
    return (
        "systemctl enable --now iscsid multipathd",
        *(f"iscsiadm --mode discovery --type sendtargets --portal {portal}" for portal in portals),
        *(f"iscsiadm --mode node --targetname {iqn} --portal {portal} --login" for portal in portals),
        *(("systemctl daemon-reload", f"systemctl enable --now {_UNITS.rpartition('/')[2]}.timer") if scan else ()),
        "multipath -ll",
    )


def scan_script(engine: str) -> str:
    """What looks once for disks of paths that have become active, in a POSIX shell; empty where the engine needs none. Never
    `iscsiadm --rescan`: that asks known disks again, and one that is absent has size 0 and another WWID then."""
    return _SCAN if engine == "tgt" else ""


def scan_units(engine: str) -> dict[str, str]:
    """Path → text: a timer that runs `scan_script`. Empty where the engine needs none."""
    script = scan_script(engine)
    if not script:
        return {}
    unit = "[Unit]\nDescription=Look for new paths to iSCSI volumes\n"
    service = f'{unit}[Service]\nType=oneshot\nExecStart=/bin/sh -c "{script}"\n'
    service = service.replace("${", "$${")  # systemd would put in variables of its own
    timer = (
        f"{unit}[Timer]\nOnBootSec={SCAN_S}\nOnUnitInactiveSec={SCAN_S}\nAccuracySec=1\n"
        "[Install]\nWantedBy=timers.target\n"
    )
    return {f"{_UNITS}.service": service, f"{_UNITS}.timer": timer}
