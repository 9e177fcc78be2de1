"""How results are shown: tables for people, JSON for programs."""

import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

PIPE_WIDTH = 240
"""Columns when the output is no terminal, so that nothing is cut off in a file."""

READABLE = 12
"""Columns that a cell needs at most: longer ones are folded."""

GOOD = {"up", "running", "closed", "voter", "yes", "ok", "healthy"}
BAD = {"claimed", "failed", "unplaced", "suspect", "quarantined", "no", "open"}
PENDING = {"joining", "starting", "stopping", "unknown", "learner", "leaving", "waiting", "maintenance"}


def emit_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=(sys.stdout.encoding or "").lower().replace("-", "") != "utf8"))


def say(text: str) -> None:
    print(harmless(text))


def warn(text: str) -> None:
    print(f"Warning: {harmless(text)}", file=sys.stderr)


def harmless(text: str) -> str:
    """Without what steers a terminal: some of what is shown was written by others."""
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """A table, or the sentence `empty` when there is nothing. Where the terminal is too narrow for its columns, one fact
    per line, and an empty line between its rows."""
    cells = [[str(cell) for cell in row] for row in rows]
    if not cells:
        print(empty)
        return
    wide = [min(max(map(len, column)), READABLE) for column in zip(columns, *cells, strict=True)]
    if sys.stdout.isatty() and sum(wide) + 3 * len(wide) > shutil.get_terminal_size().columns:
        for number, row in enumerate(cells):
            print(end="\n" if number else "")
            facts((name or "-", cell) for name, cell in zip(columns, row, strict=True))
        return
    from rich import box  # noqa: PLC0415 - 60 ms that JSON output need not pay
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in cells:
        made.add_row(*(Text(harmless(cell), style=_style(cell)) for cell in row))
    _console().print(made)


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Name and value, one per line; empty values are left out."""
    shown = [(name, harmless(str(value))) for name, value in pairs if value not in ("", None)]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"{name:<{width}}  {value}")


def _style(cell: str) -> str:
    if cell in GOOD:
        return "green"
    if cell in BAD:
        return "bold red"
    return "yellow" if cell in PENDING else ""


def _console() -> Any:
    from rich.console import Console  # noqa: PLC0415

    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)


def outcome(answer: dict[str, Any], *, as_json: bool) -> None:
    """What an operation has committed."""
    if as_json:
        emit_json(answer)
        return
    text = answer["text"]
    first = text.partition(" ")[0]
    say((text if "/" in first else text[:1].upper() + text[1:]) + ".")  # `nfs/vol1` is a name
    for text in answer.get("warnings", ()):
        warn(text)


def yes_no(value: object) -> str:
    return "yes" if value else "no"


def size(value: int | None) -> str:
    """Bytes as people write them."""
    if value is None:
        return "-"
    number = float(value)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if number < 1024 or unit == "TiB":
            return f"{number:.4g} {unit}"
        number /= 1024
    raise AssertionError
