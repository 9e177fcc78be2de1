"""What every answer of API and panel says to browsers."""

POLICY = "; ".join(
    (
        # No inline script or style, nothing from elsewhere, no framing.
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
SECURITY = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
"""No Strict-Transport-Security: it holds for all ports of a host name, and the host's other services are not ours."""

FIXED = tuple((name.encode(), value.encode()) for name, value in SECURITY.items())


def complete(headers: list[tuple[bytes, bytes]], *, private: bool) -> list[tuple[bytes, bytes]]:
    """The answer's own headers win. `private`: nobody may keep what does not say otherwise."""
    said = {name.lower() for name, _ in headers}
    added = [pair for pair in FIXED if pair[0] not in said]
    if private and b"cache-control" not in said:
        added.append((b"cache-control", b"no-store"))
    return [*headers, *added]
