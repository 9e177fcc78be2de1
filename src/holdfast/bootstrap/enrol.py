"""`holdfast node join --token`, on the new machine. Standard library for HTTP, for two requests."""

import base64
import http.client
import json
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from holdfast.bootstrap import certificates, files, pki, ring
from holdfast.bootstrap.bundle import CONFIG, install
from holdfast.bootstrap.token import Token, parse
from holdfast.config import NodeConfig
from holdfast.errors import Conflict, HoldfastError, InvalidInput, NotPermitted

TIMEOUT_S = 20.0
MAX_ANSWER = 256 * 1024
AUTHORITY = "/api/v1/join/authority"
JOIN = "/api/v1/join"


class Unreachable(HoldfastError):
    """No management node answered."""


class Refused(HoldfastError):
    """The cluster's own refusal, in its own words."""


def join_by_token(
    text: str,
    urls: Sequence[str] = (),
    root: Path = Path("/"),
    *,
    local: Mapping[str, str] | None = None,
    again: bool = False,
) -> NodeConfig:
    """Make this machine the node that the token is for. `urls`: other ways to the API than the token knows. `again`: this
    machine is that node already; it gets a certificate and the secrets anew (its certificate has expired, say).

    Raises InvalidInput, Conflict, Unreachable, Refused, NotPermitted (the API is not the cluster's), ConfigError.
    """
    token = parse(text)
    if not again and files.below(root, files.MARKER).exists():
        raise Conflict(
            "this machine belongs to a cluster already",
            "Give --again to renew what it has of the same cluster; to leave it see `holdfast node remove`.",
        )
    url, authority = _find_authority(token, tuple(urls) or token.urls)
    request, key = pki.new_request(token.node)
    sealing = ring.sealing_key(files.below(root, str(files.PKI_DIR)))
    body = {
        "id": token.id,
        "secret": token.secret,
        "request": request.decode(),
        "sealing_key": ring.public_text(sealing),
    }
    given = _ask(url, JOIN, authority, body)
    contents = _contents(given)
    contents[files.NODE_KEY] = key
    return install(contents, root, local=local, again=again)


def _contents(given: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of an answer. Names that are not expected are left out: nothing is ever written by a name of theirs."""
    known = (files.CA_CERT, files.NODE_CERT, files.BEAT_KEY, files.CLUSTER_SECRET, files.CRL, files.GENERATION, CONFIG)
    try:
        found = {name: base64.b64decode(given["files"][name]) for name in known if name in given["files"]}
        missing = [name for name in (files.CA_CERT, files.NODE_CERT, files.BEAT_KEY, CONFIG) if name not in found]
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput("the cluster's answer cannot be used", "Is it an older version of Holdfast?") from error
    if missing:
        raise InvalidInput(f"the cluster's answer lacks {', '.join(missing)}", "Is it an older version of Holdfast?")
    return found


def _find_authority(token: Token, urls: Sequence[str]) -> tuple[str, bytes]:
    """The first URL that answers with the authority whose fingerprint the token names, and that certificate."""
    failure: HoldfastError = Unreachable("the token names no address", "Give the URL of a management node.")
    for url in urls:
        try:
            said = _ask(url, AUTHORITY, None, None)
            known = certificates.split(str(said.get("certificates", "")).encode())
        except HoldfastError as error:
            failure = error
            continue
        for certificate in known:
            if certificates.fingerprint(certificate) == token.fingerprint:
                return url, certificate
        failure = NotPermitted(
            f"{url} is not the cluster that this token is for: its authority has another fingerprint",
            "Somebody may stand between this machine and the cluster; nothing was sent. If the authority was rotated "
            "since, make a new token.",
        )
    raise failure


def _ask(url: str, path: str, authority: bytes | None, body: object) -> Mapping[str, Any]:
    """One request. Without an authority whoever answers is not believed, and must be told nothing."""
    assert authority is not None or body is None, "a secret is sent to nobody who has not proven who he is"
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise InvalidInput(f"`{url}` is no URL of the API", "Write it like https://10.77.0.11:8443.")
    connection = http.client.HTTPSConnection(
        parts.hostname, parts.port or 8443, timeout=TIMEOUT_S, context=_context(authority)
    )
    try:
        payload = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        connection.request("GET" if body is None else "POST", path, payload, headers)
        answer = connection.getresponse()
        content = answer.read(MAX_ANSWER)
        found = json.loads(content)
    except ssl.SSLCertVerificationError as error:
        raise NotPermitted(
            f"the certificate of {url} is not one of this cluster's: {error.verify_message}",
            "Nothing was sent. Check the address.",
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unreachable(
            f"{url} does not answer: {error}", "Name a management node that this machine reaches."
        ) from error
    finally:
        connection.close()
    if answer.status >= 400 or not isinstance(found, dict):
        problem = found if isinstance(found, dict) else {}
        raise Refused(str(problem.get("detail", f"HTTP status {answer.status}")), str(problem.get("advice", "")))
    return found


def _context(authority: bytes | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if authority is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(cadata=authority.decode())
    return context
