"""Takes secrets out of what is given away: known ones by their value, others by how they look and what they are called."""

import base64
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

GONE = "[redacted]"
SHORTEST = 6
"""A known secret shorter than this is not looked for by its value: it would hit ordinary words."""

_NAMED = (
    r"[\w.\[\]-]{0,60}(?:passw(?:or)?d|passphrase|passwd|secret|token|credential|cookie|authorization|psk|chap"
    r"|api[_-]?key|private[_-]?key|access[_-]?key)\w{0,40}"
)
# `password=…`, `"secret_key": "…"`, `--password …`, `Authorization: Bearer …`; the value may be quoted.
_ASSIGNED = re.compile(
    rf"""(?P<name>["']?\b(?:{_NAMED})\\*["']?\s*(?:=>|[=:])\s*)"""
    r"""(?P<value>\\+".*?\\+"|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|(?:Bearer|Basic|Digest)\s+\S+|[^\s,;}\]&"']+)""",
    re.IGNORECASE,
)
_OPTION = re.compile(rf"(?P<name>--?(?:{_NAMED})\s+)(?P<value>[^\s-]\S*)", re.IGNORECASE)
_SCHEME = re.compile(r"(?P<name>\b(?:Bearer|Basic)\s+)(?P<value>[A-Za-z0-9+/=._~-]{8,})")
_USERINFO = re.compile(r"(?P<name>\w://[^\s/:@]*:)(?P<value>[^\s/@]+)(?=@)")
_WHOLE = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)",
        r"(?:[A-Za-z0-9+/=]{16,}\s*\n)+-----END [A-Z0-9 ]*PRIVATE KEY-----",  # the end of one that was cut off
        r"\$argon2(?:id|i|d)\$[^\s\"'\\]+",  # hashes of passwords
        r"\$(?:2[aby]|5|6|y|scrypt)\$[^\s\"',]+",
        r"\bgAAAA[A-Za-z0-9_=-]{40,}",  # what the cluster secret locks
        r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*",  # JSON web tokens
        r"\bhf[a-z]?_[A-Za-z0-9_-]{16,}",  # API and join tokens
    )
)
_SECRET_NAME = re.compile(rf"^(?:{_NAMED}|hash|salt|key_pem|bundle)$", re.IGNORECASE)
_HARMLESS = re.compile(
    r"^(?:token_id|join_tokens?|tokens|key_?name|password_changed|password_set|pin_count)$", re.IGNORECASE
)


class Redactor:
    """`known`: secrets as bytes; they are taken out as text, hexadecimal, base64 and percent-encoded."""

    def __init__(self, known: Iterable[bytes] = ()) -> None:
        forms = {form for secret in known for form in _forms(secret) if len(form) >= SHORTEST}
        # The longest first: one may be a part of another.
        self._known = (
            re.compile("|".join(re.escape(f) for f in sorted(forms, key=len, reverse=True))) if forms else None
        )

    def text(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(GONE, text)
        for pattern in _WHOLE:
            text = pattern.sub(GONE, text)
        for pattern in (_ASSIGNED, _OPTION, _SCHEME, _USERINFO):
            text = pattern.sub(_without_value, text)
        return text

    def data(self, value: Any, name: str = "") -> Any:
        """The same for what JSON can hold: by the names of the fields, and in every text."""
        if isinstance(value, dict):
            return {self.text(str(key)): self.data(item, str(key)) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.data(item, name) for item in value]
        if name and _SECRET_NAME.match(name) and not _HARMLESS.match(name) and value not in ("", None, False, True, 0):
            return GONE
        return self.text(value) if isinstance(value, str) else value


def _without_value(match: re.Match[str]) -> str:
    value = match["value"]
    quoted = value[:1] if value[:1] in "\"'" else value[: value.index('"') + 1] if value.startswith("\\") else ""
    return f"{match['name']}{quoted}{GONE}{quoted}"


def _forms(secret: bytes) -> Iterable[str]:
    bare = secret.strip()
    for one in {secret, bare}:
        try:
            text = one.decode()
        except UnicodeDecodeError:
            pass
        else:
            yield text
            yield quote(text, safe="")
            yield text.replace("\\", "\\\\").replace('"', '\\"')
        yield one.hex()
        yield one.hex().upper()
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(one).decode().rstrip("=")
