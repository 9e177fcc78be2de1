"""A YAML document whose every mistake has a place: the file, the path inside it, what is wrong and what is allowed."""

import difflib
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from holdfast.errors import InvalidInput

MAX_BYTES = 4 * 1024 * 1024
"""A scenario is written or read by people; what is larger is something else."""
MAX_SECONDS = 366 * 86400.0
"""No simulation lasts longer than a year."""
_UNITS_MIB = {"MiB": 1, "GiB": 1024, "TiB": 1024 * 1024}
_MEMORY = re.compile(r"(\d{1,9}(?:\.\d{1,6})?) ?(MiB|GiB|TiB)")


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice. Merging (`<<`) never makes a mapping longer than its distinct keys."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        seen: set[str] = set()
        for key, _value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {clip(key.value)} stands twice", key.start_mark
                    )
                seen.add(key.value)
        super().flatten_mapping(node)
        last = {key.value if isinstance(key, yaml.ScalarNode) else id(key): (key, value) for key, value in node.value}
        node.value = list(last.values())


@dataclass(frozen=True, slots=True)
class Cursor:
    """One place in a document: what stands there, and how a message names it."""

    file: str
    path: str
    value: object

    def error(self, problem: str, advice: str = "") -> InvalidInput:
        place = f"{self.file}: {self.path}" if self.path else self.file
        return InvalidInput(f"{place}: {problem}", advice)

    def unknown(self, what: str, name: str, allowed: Collection[str]) -> InvalidInput:
        """A name that does not exist, with the nearest one that does."""
        return self.error(f"there is no {what} {clip(name)}", hint(name, allowed))

    def child(self, key: str, value: object) -> "Cursor":
        return Cursor(self.file, f"{self.path}.{key}" if self.path else key, value)

    # --- containers -----------------------------------------------------------------------------------------------------

    def mapping(self, keys: Collection[str] | None = None, *, what: str = "key") -> dict[str, "Cursor"]:
        """Key → what stands there; nothing at all counts as empty. `keys` are those allowed (None: any)."""
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            raise self.error(f"must be a mapping, not {describe(self.value)}")
        result: dict[str, Cursor] = {}
        for key, value in self.value.items():
            if not isinstance(key, str):
                raise self.error(f"a key is {describe(key)}, not text", "Put it in quotes.")
            if keys is not None and key not in keys:
                raise self.child(key, value).unknown(what, key, keys)
            result[key] = self.child(key, value)
        return result

    def items(self) -> list["Cursor"]:
        """The elements of a list; nothing at all counts as empty."""
        if self.value is None:
            return []
        if not isinstance(self.value, list):
            raise self.error(f"must be a list, not {describe(self.value)}")
        return [Cursor(self.file, f"{self.path}[{index}]", value) for index, value in enumerate(self.value)]

    def one_or_more(self) -> list["Cursor"]:
        """The elements of a list; a single value counts as a list of one."""
        return self.items() if isinstance(self.value, list) else [self]

    # --- values ---------------------------------------------------------------------------------------------------------

    def text(self) -> str:
        if isinstance(self.value, bool) or not isinstance(self.value, str | int | float):
            quotes = "Put it in quotes." if isinstance(self.value, bool) else ""
            raise self.error(f"must be text, not {describe(self.value)}", quotes)
        return str(self.value)

    def number(self, low: float = -math.inf, high: float = math.inf) -> float:
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.error(f"must be a number, not {describe(self.value)}")
        try:
            value = float(self.value)
        except OverflowError:
            value = math.inf
        if not math.isfinite(value) or not low <= value <= high:
            raise self.error(f"is {describe(self.value)}", f"Allowed: {_range(low, high)}.")
        return value

    def whole(self, low: int = 0, high: int = 1_000_000) -> int:
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            raise self.error(f"must be a whole number, not {describe(self.value)}")
        return int(self.number(low, high))

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.error(f"must be true or false, not {describe(self.value)}")
        return self.value

    def switch(self) -> bool:
        """`on` or `off`, which YAML itself reads as true and false unless they are quoted."""
        if isinstance(self.value, bool):
            return self.value
        if self.value in ("on", "off"):
            return self.value == "on"
        raise self.error(f"must be on or off, not {describe(self.value)}")

    def memory_mib(self) -> int:
        found = _MEMORY.fullmatch(self.value) if isinstance(self.value, str) else None
        if found is None and not (self.value == 0 and not isinstance(self.value, bool)):
            raise self.error(f"must be an amount of memory, not {describe(self.value)}", "Write it as 16GiB or 512MiB.")
        mib = float(found[1]) * _UNITS_MIB[found[2]] if found else 0.0
        if mib != int(mib):
            raise self.error(f"{self.value} is no whole number of MiB")
        return int(mib)

    def choice(self, allowed: Collection[str], what: str) -> str:
        # A word that YAML reads as a boolean (no, off) is named as it was meant.
        name = {True: "on", False: "off"}[self.value] if isinstance(self.value, bool) else self.text()
        if name not in allowed:
            raise self.unknown(what, name, allowed)
        return name


def read(path: Path) -> Cursor:
    """The document in a file. Raises InvalidInput."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidInput(f"{path}: the file is larger than {MAX_BYTES // 1024 // 1024} MiB", "Is it a scenario?")
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error.strerror}", "Give the path of a scenario file.") from None
    return parse(content, str(path))


def parse(content: str | bytes, file: str) -> Cursor:
    """The document in a text. Raises InvalidInput."""
    if len(content) > MAX_BYTES:
        raise InvalidInput(f"{file}: the text is larger than {MAX_BYTES // 1024 // 1024} MiB", "Is it a scenario?")
    try:
        return Cursor(file, "", yaml.load(content, _Loader))  # noqa: S506 - derives from SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InvalidInput(f"{file}: is not valid YAML{place}: {error.problem or error.context}") from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise InvalidInput(f"{file}: is not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise InvalidInput(f"{file}: is nested too deeply") from None
    except (ValueError, TypeError, OverflowError) as error:  # numbers and dates that no Python value can hold
        raise InvalidInput(f"{file}: holds a value that cannot be read: {clip(str(error))}") from None


def write(document: Mapping[str, object]) -> str:
    """YAML as people write it here: one line for each innermost mapping, in the given order."""
    return yaml.dump(
        dict(document), Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=140, allow_unicode=True
    )


class Switch(str):
    """`on` or `off`, written without quotes."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


for _words in (_Loader, _Dumper):
    # 1e-9 without a dot: a number in JSON and in YAML 1.2, which PyYAML takes for text.
    _words.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
    )
_Dumper.add_representer(Switch, lambda dumper, data: dumper.represent_scalar("tag:yaml.org,2002:bool", str(data)))


def memory_text(mib: int) -> str:
    """The shortest way to write an amount of memory."""
    return f"{mib // 1024}GiB" if mib % 1024 == 0 else f"{mib}MiB"


def hint(name: str, allowed: Collection[str]) -> str:
    """The nearest allowed name, and all of them if they are few."""
    near = difflib.get_close_matches(name, list(allowed), 1, 0.5)
    guess = f"Did you mean {near[0]}? " if near else ""
    return guess + (f"Allowed: {', '.join(_few(allowed))}." if allowed else "There is none.")


def _few(names: Collection[str]) -> Iterator[str]:
    for index, name in enumerate(names):
        if index == 40:
            yield f"and {len(names) - 40} more"
            return
        yield name


def describe(value: object) -> str:
    """A value of a document in a few words; never a long or deep one in full."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, int) and abs(value) >= 10**18:
        return "a very large number"
    return clip(value) if isinstance(value, str) else clip(str(value), quote=False)


def clip(text: str, *, quote: bool = True) -> str:
    short = text if len(text) <= 60 else f"{text[:57]}…"
    return repr(short) if quote else short


def _range(low: float, high: float) -> str:
    if high == math.inf:
        return "any number" if low == -math.inf else f"{low:g} or more"
    return f"{low:g} to {high:g}"
