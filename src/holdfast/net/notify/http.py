"""One POST to a receiver: no redirects, a short answer, verified certificates."""

import ssl
from collections.abc import Mapping

import httpx

from holdfast.net.notify import NotDelivered

TIMEOUT_S = 10.0
ANSWER_BYTES = 64 * 1024


async def post(
    url: str, body: bytes, headers: Mapping[str, str], *, ca: str = "", auth: tuple[str, str] | None = None
) -> None:
    """`ca`: authorities as PEM text; empty: the system's. Raises NotDelivered, which never names the URL's path: it may be a
    secret."""
    try:
        where = httpx.URL(url).host
    except httpx.InvalidURL:
        raise NotDelivered("its URL cannot be read", "Remove it and add it again.") from None
    try:
        verify = ssl.create_default_context(cadata=ca or None)
    except (ssl.SSLError, ValueError) as error:
        raise NotDelivered(f"the authority given for {where} cannot be used: {error}", "Give it as PEM.") from error
    try:
        async with (
            httpx.AsyncClient(verify=verify, timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client,
            client.stream("POST", url, content=body, headers=dict(headers), auth=auth) as answer,
        ):
            size = 0
            async for piece in answer.aiter_raw():  # not unpacked: a little can be packed a thousand times
                size += len(piece)
                if size > ANSWER_BYTES:
                    break
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        why = str(error) or type(error).__name__
        raise NotDelivered(f"{where} did not take it: {why}", "Check address, port and certificate.") from error
    if not 200 <= answer.status_code < 300:
        raise NotDelivered(f"{where} refused it with HTTP status {answer.status_code}", "Look at its log.")
