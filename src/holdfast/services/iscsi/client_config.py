"""What a Linux client of a target group is told: settings for multipathd and iscsid, and a scan timer for tgt. Pure.

The figures behind them stand in docs/iscsi.md, section "The client"; the lab's guest (`lab/guest/iscsi.py`) runs with these.
"""

NOOP_INTERVAL_S = 1
NOOP_TIMEOUT_S = 2
"""A silent portal is given up this long after the interval. Below 2 s, busy machines take living paths for dead ones."""
REPLACEMENT_S = 0
"""How long commands stay with a path that was given up: there are others, and multipathd keeps what none can serve."""
LOGIN_S = 5
SCAN_PERIOD_S = 5
VENDORS = {"lio": "LIO-ORG", "tgt": "HOLDFAST"}
"""Engine → what its volumes answer to INQUIRY."""
WWIDS = "^36001405"
"""How the names of volumes begin on Linux (`names.wwid`)."""

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


def iscsid_conf(engine: str) -> dict[str, str]:
    """Settings of /etc/iscsi/iscsid.conf, to be made before the portals are discovered; of known ones: `iscsiadm -m node -o
    update -n NAME -v VALUE`. The same for every engine."""
    assert engine in VENDORS, engine
    return {
        "node.startup": "automatic",
        "node.session.timeo.replacement_timeout": str(REPLACEMENT_S),
        "node.conn[0].timeo.noop_out_interval": str(NOOP_INTERVAL_S),
        "node.conn[0].timeo.noop_out_timeout": str(NOOP_TIMEOUT_S),
        "node.conn[0].timeo.login_timeout": str(LOGIN_S),
    }


def scan_script(engine: str) -> str:
    """What looks once for disks of paths that have become active, in a POSIX shell; empty where the engine needs none."""
    return _SCAN if engine == "tgt" else ""


def scan_units(engine: str) -> dict[str, str]:
    """File below /etc/systemd/system → text: a timer that runs `scan_script`. Empty where the engine needs none."""
    script = scan_script(engine)
    if not script:
        return {}
    unit = "[Unit]\nDescription=Look for new paths to iSCSI volumes\n"
    service = f'{unit}[Service]\nType=oneshot\nExecStart=/bin/sh -c "{script}"\n'
    service = service.replace("${", "$${")  # systemd would put in variables of its own
    timer = (
        f"{unit}[Timer]\nOnBootSec={SCAN_PERIOD_S}\nOnUnitInactiveSec={SCAN_PERIOD_S}\nAccuracySec=1\n"
        "[Install]\nWantedBy=timers.target\n"
    )
    return {"holdfast-iscsi-scan.service": service, "holdfast-iscsi-scan.timer": timer}


def _section(name: str, settings: dict[str, str]) -> list[str]:
    return [f"{name} {{", *(f"    {key} {value}" for key, value in settings.items()), "}"]
