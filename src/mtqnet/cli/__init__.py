"""The command line."""

import sys

INTERRUPTED = 130
"""Exit code after Ctrl-C, as in shells"""


def main() -> None:
    """Run the command line; the entry point of the `mtqnet` script."""
    try:
        from mtqnet.cli.app import main as run

        run()
    except KeyboardInterrupt:  # while modules are imported
        sys.exit(INTERRUPTED)
