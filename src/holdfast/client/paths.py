"""Names as parts of paths."""

from urllib.parse import quote

from holdfast.errors import InvalidInput


def part(text: str) -> str:
    """One part of a path, quoted. Raises InvalidInput for what no name can be: it would lead to another path."""
    if not text or "/" in text or text in (".", ".."):
        raise InvalidInput(
            f"`{text}` cannot be a name", "Names have no slash and are not empty; look at `holdfast status`."
        )
    return quote(text, safe="")


def parts(text: str) -> str:
    """An instance id in a path: its slashes stay. Raises InvalidInput."""
    return "/".join(part(piece) for piece in text.split("/"))
