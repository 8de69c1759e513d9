"""`python -m asyncdiff_operator`: runs the operator until it is told to stop."""

from __future__ import annotations

import asyncio
import sys

from asyncdiff_operator.app import run
from asyncdiff_operator.errors import StartError
from asyncdiff_operator.logs import set_up_logging
from asyncdiff_operator.options import read_options


def main() -> int:
    """Gives the process's exit code: 0 stopped as asked, 1 cannot go on, 2 wrong options."""
    try:
        options = read_options(sys.argv[1:])
    except StartError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    set_up_logging(options.log_format, options.log_level)
    return asyncio.run(run(options))


if __name__ == "__main__":
    sys.exit(main())
