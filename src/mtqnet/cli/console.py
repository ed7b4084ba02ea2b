"""What people see: tables, colours, the progress bar, the one red line. The verbs of cli.py call this.

Results go to stdout, everything said on the way to stderr, so that a pipe carries results alone. What needs rich
is imported where it is shown (screen.py, bars.py).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mtqnet.errors import UsageError

ENGINES = ("local", "ray")


def need_engine(name: str) -> str:
    """The name of what the work is done by. Raises UsageError for one that is none."""
    if name not in ENGINES:
        raise UsageError(f"no engine '{name}': there are {', '.join(ENGINES)}")
    return name


def clock(seconds: float) -> str:
    """Minutes and seconds, such as "1:02.5"."""
    tenths = round(seconds * 10)
    return f"{tenths // 600}:{tenths % 600 // 10:02d}.{tenths % 10}"


def show_targets() -> None:
    """Print the table of the six targets."""
    from mtqnet.cli.screen import show_targets

    show_targets()


def show_flags(names: Sequence[str], markdown: bool) -> None:
    """Print the table of flags, or of those named. Raises UsageError for a name that is none."""
    from mtqnet.audio import flags

    unknown = [name for name in names if name not in flags.BY_KEY]
    if unknown:
        raise UsageError(f"no flag {unknown[0]}: there are {', '.join(flags.BY_KEY)}")
    if markdown:
        print(flags.markdown(), end="")
        return
    from mtqnet.cli.screen import show_flags

    show_flags([flags.BY_KEY[name] for name in names] or flags.FLAGS)


def tell(text: str, style: str = "") -> None:
    """One line on stderr."""
    if not sys.stderr.isatty():
        print(text, file=sys.stderr)
        return
    from mtqnet.cli.screen import tell

    tell(text, style)


def tell_error(text: str) -> None:
    tell(f"error: {text}", style="bold red")
