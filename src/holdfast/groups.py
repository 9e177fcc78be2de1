"""Where the control groups (version 2) of units are: of the agent's own making, or of systemd's.

Without systemd `<base>/strict/<unit>` and `<base>/system/<unit>`. Where units are transient services of systemd they lie
below the slices holdfast-strict.slice and holdfast-system.slice; what the agent started in groups of its own before is still
there, so whoever looks for units, or kills them, looks at both.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

SLICES = Path("/sys/fs/cgroup/holdfast.slice")
PREFIX, SUFFIX = "holdfast-", ".service"
_PLAIN = re.compile(r"[A-Za-z0-9:_-]")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")


def slice_of(*, strict: bool) -> str:
    return f"holdfast-{'strict' if strict else 'system'}.slice"


def escape(name: str) -> str:
    """A unit's name as the name of its directory and log file; `unescape` gives it back. Percent-encoded; the dot too, so
    that no name can be `..` or one of the kernel's own files such as `cgroup.kill`."""
    return quote(name, safe="").replace(".", "%2E")


def unescape(directory: str) -> str:
    return unquote(directory)


def service_name(name: str) -> str:
    """The same as the name of a service; systemd's own way of escaping (systemd.unit(5)), but hyphens stay."""
    plain = "".join(chr(b) if _PLAIN.match(chr(b)) else f"\\x{b:02x}" for b in name.encode())
    return f"{PREFIX}{plain}{SUFFIX}"


def unit_of(service: str) -> str | None:
    """The unit of a service's name; None for what is no unit's."""
    if not (service.startswith(PREFIX) and service.endswith(SUFFIX)):
        return None
    inner = service[len(PREFIX) : -len(SUFFIX)].encode()
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), inner.decode()).encode("latin-1").decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Groups:
    """Of one node."""

    base: Path
    systemd: bool = False
    slices: Path = SLICES

    def unit(self, name: str, *, strict: bool) -> Path:
        """Where a unit is started."""
        if self.systemd:
            return self.slices / slice_of(strict=strict) / service_name(name)
        return self._own(strict) / escape(name)

    def anywhere(self, name: str) -> list[Path]:
        """Where a unit of that name may be."""
        found = [self._own(strict) / escape(name) for strict in (True, False)]
        if self.systemd:
            found += [self.slices / slice_of(strict=strict) / service_name(name) for strict in (True, False)]
        return found

    def all(self, *, strict: bool) -> list[Path]:
        """What holds all strict units, or all others."""
        return [self._own(strict), *([self.slices / slice_of(strict=strict)] if self.systemd else [])]

    def name_of(self, group: Path) -> str | None:
        """The unit whose group this is; None: of none."""
        return unit_of(group.name) if group.is_relative_to(self.slices) else unescape(group.name)

    def _own(self, strict: bool) -> Path:
        return self.base / ("strict" if strict else "system")
