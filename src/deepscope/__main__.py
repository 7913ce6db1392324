"""Where the command line starts: nothing is imported before an interrupt can be answered."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        from deepscope.cli import run

        code = run()
    except KeyboardInterrupt:
        code = 130
    if code == 130:
        # CPython remembers an interrupt of code made from a string, such as a dataclass being defined, and would end
        # ``python -m deepscope`` by a signal instead of with this code. Any such code that ends well clears it.
        exec("")
    sys.exit(code)


if __name__ == "__main__":
    main()
