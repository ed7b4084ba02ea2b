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


def call(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Call `mtqnet` with these arguments and an empty standard input; a warning is an error.

    A process of its own costs 0.2 to 2 s, for the imports and the model. An exception that the command does not
    report is raised here.
    """
    words = list(map(str, arguments))
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="", write_through=True) for _ in range(2))
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryFile("r", encoding="utf-8") as empty,
        warnings.catch_warnings(action="error"),
    ):
        for name, value in ({"COLUMNS": "160", "NO_COLOR": "1"} | environment).items():
            patch.setenv(name, value)
        for name, value in (("argv", ["mtqnet", *words]), ("stdin", empty), ("stdout", out), ("stderr", err)):
            patch.setattr(sys, name, value)
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    told, said = (stream.buffer.getvalue().decode() for stream in (out, err))  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(words, code, told, said)
