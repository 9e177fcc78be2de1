"""Prometheus Alertmanager, API version 2. It groups, silences and routes by labels; it forgets what it is not told again."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from holdfast.core.alarm_model import RANK, Alarm, AlarmState, Notice
from holdfast.core.history import Severity
from holdfast.net.notify.http import post

FORGET = timedelta(minutes=5)
"""An alert that is not repeated for so long (they are each minute) counts as resolved: Holdfast is away, too."""
SEVERITIES = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.ERROR: "critical"}


async def send(notice: Notice, secrets: Mapping[str, str]) -> None:
    options = notice.receiver.options
    auth = (options["user"], secrets.get("password", "")) if options.get("user") else None
    content = json.dumps([one for alarm in notice.alarms for one in alerts(alarm, notice)]).encode()
    url = options["url"].rstrip("/") + "/api/v2/alerts"
    await post(url, content, {"content-type": "application/json"}, ca=options.get("ca", ""), auth=auth)


def alerts(alarm: Alarm, notice: Notice) -> list[dict[str, Any]]:
    """Labels are an alert's identity. The severity is one of them, for routes need it: what became worse is over with its
    former severities."""
    milder = [each for each in SEVERITIES if RANK[each] < RANK[alarm.severity] and alarm.open and alarm.change > 1]
    over = [replace(alarm, severity=each, state=AlarmState.CLEARED, cleared_at=notice.wall) for each in milder]
    return [_alert(one, notice) for one in (*over, alarm)]


def _alert(alarm: Alarm, notice: Notice) -> dict[str, Any]:
    name = "".join(part.capitalize() for part in alarm.kind.split("-"))
    ends = alarm.cleared_at if not alarm.open else (datetime.fromisoformat(notice.wall) + FORGET).isoformat()
    return {
        "labels": {
            "alertname": f"Holdfast{name}",
            "cluster": notice.cluster,
            "kind": alarm.kind,
            "subject": alarm.subject,
            "severity": SEVERITIES[alarm.severity],
        },
        "annotations": {"summary": alarm.text, "description": alarm.advice},
        "startsAt": alarm.raised_at,
        "endsAt": ends,
    }
