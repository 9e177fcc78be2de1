"""Writes the programs of an installed `holdfast`: entry_points.py SITE_PACKAGES BIN.

Installers write the path of the Python that they ran with into such scripts; this one writes where the package puts it.
Isolated (-I): what root runs reads no module from the working directory, the environment or a home directory.
"""

import configparser
import sys
from pathlib import Path

PYTHON = "/usr/lib/holdfast/bin/python3"
SCRIPT = """#!{python} -I
import sys

from {module} import {function}

sys.exit({function}())
"""


def main(site: Path, target: Path) -> None:
    """Raises ValueError unless exactly one holdfast is installed there."""
    (found,) = site.glob("holdfast-*.dist-info/entry_points.txt")
    points = configparser.ConfigParser()
    points.read(found)
    for name, place in points["console_scripts"].items():
        module, function = place.split(":")
        program = target / name
        program.write_text(SCRIPT.format(python=PYTHON, module=module, function=function))
        program.chmod(0o755)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
