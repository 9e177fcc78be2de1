"""The command line: `holdfast`. Tables for people, `--json` for programs, and never a traceback.

Exit status: 0 done · 1 refused or failed (the reason and what to do stand on standard error) · 2 wrong usage · 130 ended
by Ctrl-C. It stands in the help and in docs/operating.md, too.
"""

import errno
import io
import os
import sys

from holdfast.errors import HoldfastError

__all__ = ["main"]


def main(argv: list[str] | None = None) -> None:
    """Run one command and exit. Only the modules of that command are loaded, to answer quickly."""
    from holdfast.cli.app import build, run  # noqa: PLC0415 - importing holdfast.cli itself stays cheap

    arguments = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 gets question marks, not an error
    try:
        sys.exit(run(build(arguments), arguments))
    except HoldfastError as error:
        print(f"Error: {error.message}.", file=sys.stderr)
        if error.advice:
            print(error.advice, file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader (head, less) has gone; nothing is left to be said to it
        sys.exit(1)
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
            print("Error: the output cannot be written: no space is left there.", file=sys.stderr)
            sys.exit(1)
        if os.environ.get("HOLDFAST_DEBUG"):
            raise
        print(f"Error: holdfast made a mistake: {type(error).__name__}: {error}.", file=sys.stderr)
        print("Please report it with the output of the same command under HOLDFAST_DEBUG=1.", file=sys.stderr)
        sys.exit(1)
