"""What a mutant is, and how it is put into a copy of the sources."""

import py_compile
import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path("holdfast")


@dataclass(frozen=True)
class Edit:
    """Exactly one place of one file."""

    file: str
    """Below src/holdfast."""
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """One deliberate mistake in the code that safety, liveness or the guarantee rests on."""

    id: str
    mistake: str
    """One sentence."""
    endangers: str
    """The invariant, or what else is promised."""
    edits: tuple[Edit, ...]
    """Several only where the design has several lines of defence and the mistake is to drop all of them."""
    killers: tuple[str, ...]
    """Tried in this order: a scenario below tests/scenarios without `.yaml`, `fuzz FIRST COUNT`, `model`, or
    `test FILE::NAME` below tests/ for what no scenario shows."""


class BadAnchor(Exception):
    """The text of an edit is not in its file exactly once: the code has changed, so must the mutant. Not a kill."""


def mutant(id_: str, mistake: str, endangers: str, *edits: tuple[str, str, str], by: tuple[str, ...] = ()) -> Mutant:
    return Mutant(id_, mistake, endangers, tuple(Edit(*edit) for edit in edits), by)


def mutated(edits: tuple[Edit, ...], sources: Path) -> dict[Path, str]:
    """File below `sources` → its text with the mistake. Raises BadAnchor."""
    texts: dict[Path, str] = {}
    for edit in edits:
        path = sources / PACKAGE / edit.file
        if path not in texts:
            if not path.exists():
                raise BadAnchor(f"{edit.file} does not exist")
            texts[path] = path.read_text()
        found = texts[path].count(edit.old)
        if found != 1:
            raise BadAnchor(f"{edit.file} contains {found} times, not once: {edit.old!r}")
        texts[path] = texts[path].replace(edit.old, edit.new)
    return texts


def plant(edits: tuple[Edit, ...], target: Path) -> list[str]:
    """Copy src to `target`, apply the mistake there, name the modules it touches. Raises BadAnchor, PyCompileError."""
    shutil.copytree(ROOT / "src", target, ignore=shutil.ignore_patterns("__pycache__", "assets", "static", "templates"))
    for path, text in mutated(edits, target).items():
        path.write_text(text)
        py_compile.compile(str(path), doraise=True)
    return sorted({f"holdfast.{edit.file.removesuffix('.py').replace('/', '.')}" for edit in edits})
