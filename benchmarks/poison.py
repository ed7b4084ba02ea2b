"""Files that crash the process that reads them, as real damaged files did to decoders.

The current libsndfile has no such known fault. So a scoring process gets a reader that obeys the
first bytes of a file: a `sitecustomize` on its path.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CRASH = b"POISON crash"
"""Content of such a file"""

READER = """
import sys
if "mtqnet.scoring.workers" in sys.orig_argv:
    import os, signal, time
    from mtqnet.audio import decoding
    plain = decoding.open_source
    def header(path):
        time.sleep(float(os.environ.get("POISON_SLOW_S", 0)))
        head = b""
        if os.path.isfile(path):
            with open(path, "rb") as file:
                head = file.read(16)
        if head.startswith(b"POISON crash"):
            os.kill(os.getpid(), signal.SIGSEGV)
        return plain(path)
    decoding.open_source = header
"""


@contextmanager
def obeyed() -> Iterator[None]:
    """Processes that are started in the block obey poisoned files."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder(), before]))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def folder() -> str:
    """A folder that makes a process obey poisoned files when it is on its PYTHONPATH."""
    made = Path(tempfile.mkdtemp(prefix="poison-"))
    (made / "sitecustomize.py").write_text(READER)
    return str(made)
