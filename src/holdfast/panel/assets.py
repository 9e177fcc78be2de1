"""The panel's static files, held in memory.

They are few and small. Reading them once at the start keeps requests away from the disk (a warm panel must answer at once
after a fail-over) and from path tricks (a name is looked up, never opened).
"""

import gzip
import hashlib
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
"""Only files of these types are served."""

FIRST_SHEET, LAST_SHEET = "css/base.css", "css/narrow.css"
"""What all others build on, and what corrects them on small screens."""

IMPORT = re.compile(r'^import [^;"]*"(\.{1,2}/[^"]+)"', re.MULTILINE)
"""A module's static import. Those that are written as calls are fetched when they are needed."""

ROOT = Path(__file__).parent / "static"


@dataclass(frozen=True, slots=True)
class Asset:
    content: bytes
    zipped: bytes
    """gzip of the content; empty where that saves nothing."""
    content_type: str


class Assets:
    """Name (`js/app.js`) → file, and a version that changes with any content."""

    def __init__(self, root: Path = ROOT) -> None:
        paths = sorted(path for path in root.rglob("*") if path.suffix in TYPES)
        self._assets = {path.relative_to(root).as_posix(): _load(path) for path in paths}
        digest = hashlib.sha256()
        for name, asset in self._assets.items():
            digest.update(name.encode() + b"\0" + hashlib.sha256(asset.content).digest())
        self.version = digest.hexdigest()[:12]

        names = [name for name in self._assets if name.endswith(".css")]
        self.sheets = tuple(sorted(names, key=lambda name: (name != FIRST_SHEET, name == LAST_SHEET, name)))
        """The style sheets in the order in which they count."""

    def imports(self, *names: str) -> tuple[str, ...]:
        """These modules and all that they import, each once: the browser fetches them at the same time instead of finding
        one behind the other."""
        found = dict.fromkeys(names)
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            asset = self._assets.get(name)
            for path in IMPORT.findall(asset.content.decode()) if asset else ():
                imported = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
                if imported not in found:
                    found[imported] = None
                    waiting.append(imported)
        return tuple(found)

    def get(self, name: str) -> Asset | None:
        return self._assets.get(name)


def _load(path: Path) -> Asset:
    content = path.read_bytes()
    zipped = b"" if path.suffix == ".woff2" else gzip.compress(content, mtime=0)
    return Asset(content, zipped if len(zipped) < len(content) else b"", TYPES[path.suffix])
