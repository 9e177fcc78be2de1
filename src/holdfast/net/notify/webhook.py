"""HTTPS POST of JSON. With a key the body is signed, with the time, so that a receiver can refuse forgeries and replays:

X-Holdfast-Timestamp: 1767225600
X-Holdfast-Signature: sha256=<hex of HMAC-SHA256(key, timestamp "." body)>
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from holdfast.core.alarm_model import Alarm, Notice
from holdfast.net.notify.http import post


async def send(notice: Notice, secrets: Mapping[str, str]) -> None:
    content = body(notice)
    headers = {"content-type": "application/json", "user-agent": "holdfast"}
    key = secrets.get("key", "")
    if key:
        stamp = str(int(datetime.fromisoformat(notice.wall).timestamp()))
        headers |= {"x-holdfast-timestamp": stamp, "x-holdfast-signature": f"sha256={signature(key, stamp, content)}"}
    await post(secrets["url"], content, headers, ca=notice.receiver.options.get("ca", ""))


def signature(key: str, stamp: str, content: bytes) -> str:
    return hmac.new(key.encode(), stamp.encode() + b"." + content, hashlib.sha256).hexdigest()


def body(notice: Notice) -> bytes:
    """`delivery` of each alarm is the same whenever and by whomever it is sent: receivers know a repetition by it. Numbers
    begin anew once an alarm was forgotten, so it holds the time, too."""
    return json.dumps(
        {
            "version": 1,
            "cluster": notice.cluster,
            "node": notice.node,
            "sent_at": notice.wall,
            "receiver": notice.receiver.name,
            "alarms": [_alarm(alarm) for alarm in notice.alarms],
        },
        ensure_ascii=False,
    ).encode()


def _alarm(alarm: Alarm) -> dict[str, Any]:
    return {
        "id": alarm.id,
        "delivery": f"{alarm.id}#{alarm.number}.{alarm.change}@{alarm.raised_at}",
        "kind": alarm.kind,
        "subject": alarm.subject,
        "severity": alarm.severity,
        "state": alarm.state,
        "text": alarm.text,
        "advice": alarm.advice,
        "raised_at": alarm.raised_at,
        "cleared_at": alarm.cleared_at,
    }
