"""Bodies of the requests about alarms."""

from typing import Annotated

from pydantic import Field

from holdfast.api.requests import Body, Text

Secret = Annotated[str, Field(max_length=4096, repr=False)]
Pem = Annotated[str, Field(max_length=200_000)]


class Acknowledge(Body):
    note: Text = ""
    """What others should know: who does what about it."""


class Webhook(Body):
    url: Secret
    """https://…; plain http only to this machine itself. It may hold a secret, so it is never shown."""
    key: Secret = ""
    """Signs each body with HMAC-SHA256; empty: unsigned."""
    ca: Pem = ""
    """Authorities that the server's certificate may come from, as PEM; empty: the system's."""


class Email(Body):
    server: Text
    sender: Text
    to: Annotated[list[Text], Field(min_length=1, max_length=50)]
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    tls: Text = "starttls"
    """`starttls`, `tls` or `none`."""
    user: Text = ""
    password: Secret = ""
    ca: Pem = ""


class Alertmanager(Body):
    url: Text
    """Of its root, e.g. https://alerts.example.com:9093."""
    user: Text = ""
    password: Secret = ""
    ca: Pem = ""


class AddReceiver(Body):
    """Exactly one of webhook, email and alertmanager."""

    name: Text
    min_severity: Text = "warning"
    """`info`, `warning` or `error`: what is less severe is not told."""
    webhook: Webhook | None = None
    email: Email | None = None
    alertmanager: Alertmanager | None = None
