"""Prometheus Alertmanager, API version 2. It groups, silences and routes by labels; it forgets what it is not told again."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from holdfast.core.alarm_model import Alarm, Notice
from holdfast.core.history import Severity
from holdfast.net.notify.http import post

FORGET = timedelta(minutes=5)
"""An alert that is not repeated for so long (they are each minute) counts as resolved: Holdfast is away, too."""
SEVERITIES = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.ERROR: "critical"}


async def send(notice: Notice, secrets: Mapping[str, str]) -> None:
    options = notice.receiver.options
    auth = (options["user"], secrets.get("password", "")) if options.get("user") else None
    content = json.dumps([alert(alarm, notice) for alarm in notice.alarms]).encode()
    url = options["url"].rstrip("/") + "/api/v2/alerts"
    await post(url, content, {"content-type": "application/json"}, ca=options.get("ca", ""), auth=auth)


def alert(alarm: Alarm, notice: Notice) -> dict[str, Any]:
    """The labels are the alert's identity, so nothing that changes is among them."""
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
