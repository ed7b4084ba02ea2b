"""The command line within the process of the tests, for tests in which the process itself is not the property."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest

from mtqnet.cli import main


def call(*arguments: str | Path, terminal: bool = False, **environment: str) -> subprocess.CompletedProcess[str]:
    """Call `mtqnet` with these arguments and an empty standard input; a warning is an error.

    With `terminal`, standard output claims to be a terminal without colours.

    A process of its own costs 0.2 to 2 s, for the imports and the model. An exception that the command does not
    report is raised here.
    """
    words = list(map(str, arguments))
    written = io.BytesIO(), io.BytesIO()
    out, err = (io.TextIOWrapper(stream, "utf-8", newline="", write_through=True) for stream in written)
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryFile("r", encoding="utf-8") as empty,
        warnings.catch_warnings(action="error"),
    ):
        for name, value in ({"COLUMNS": "160", "NO_COLOR": "1"} | environment).items():
            patch.setenv(name, value)
        if terminal:
            patch.setenv("TERM", "xterm")
            patch.setattr(out, "isatty", lambda: True)
        streams: dict[str, object] = {"argv": ["mtqnet", *words], "stdin": empty, "stdout": out, "stderr": err}
        for name, replacement in streams.items():
            patch.setattr(sys, name, replacement)
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return subprocess.CompletedProcess(words, code, *(stream.getvalue().decode() for stream in written))
