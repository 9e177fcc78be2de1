"""What a client of a backup cluster sets: restic, and every tool that speaks its REST protocol. Pure.

Where the numbers come from: docs/backup.md.
"""

from dataclasses import dataclass

RETRY_LOCK = "5m"
STUCK_REQUEST = "30s"


@dataclass(frozen=True, slots=True)
class ClientConfig:
    repository: str
    """For RESTIC_REPOSITORY; user and password are in variables of their own (restic 0.17 or newer)."""
    repository_with_password: str
    """The same for older ones, with PASSWORD in the place of the password."""
    environment: dict[str, str]
    ca: str
    """The certificate that the client must trust, PEM; empty: the operator's own is trusted anyhow."""
    ca_file: str
    options: tuple[str, ...]
    """Of each restic command, newer than the version that is named beside it."""
    sysctl: dict[str, str]
    """Of a Linux client."""


def client_config(cluster: str, url: str, user: str, ca: str) -> ClientConfig:
    """`url`: https://DOMAIN:PORT/. One repository of the user's, called after the host that is backed up."""
    scheme, _, rest = url.partition("://")
    ca_file = f"/etc/restic/{cluster}-ca.crt" if ca else ""
    return ClientConfig(
        f"rest:{url}{user}/$(hostname)/",
        f"rest:{scheme}://{user}:PASSWORD@{rest}{user}/$(hostname)/",
        {
            "RESTIC_REST_USERNAME": user,
            "RESTIC_REST_PASSWORD": "PASSWORD",
            **({"RESTIC_CACERT": ca_file} if ca else {}),
            "RESTIC_PASSWORD_FILE": "/etc/restic/repository.pw",
        },
        ca,
        ca_file,
        (f"--retry-lock {RETRY_LOCK} (0.16)", f"--stuck-request-timeout {STUCK_REQUEST} (0.17)"),
        {"net.ipv4.tcp_retries2": "6"},
    )
