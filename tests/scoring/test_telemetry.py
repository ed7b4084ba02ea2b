"""Scoring makes no network access and writes no file outside its output."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import os, sys, time
import mtqnet
assert mtqnet.score(sys.argv[1], model=sys.argv[2]).error is None
time.sleep(0.3)
print(len(os.listdir("/proc/self/task")))
sockets = [link for name in os.listdir("/proc/self/fd")
           if (link := os.readlink(f"/proc/self/fd/{name}") if os.path.lexists(f"/proc/self/fd/{name}") else "")
           .startswith("socket:")]
print(len(sockets))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("setting", [None, "0"])
def test_no_file_no_socket_no_further_thread(
    toy_model: Path, good_file: Path, tmp_path: Path, setting: str | None
) -> None:
    """onnxruntime's telemetry would write below the home folder and start a thread; CI disables it by itself."""
    names = ("CI", "GITHUB_ACTIONS", "XDG_CACHE_HOME", "XDG_STATE_HOME", "ORT_RUNNING_UNIT_TESTS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    environment |= {"OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {} if setting is None else {"ORT_DISABLE_TELEMETRY": setting}
    code = CODE.replace("model=sys.argv[2]", "model=sys.argv[2]")
    command = [sys.executable, "-c", code, str(good_file), str(toy_model)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert list(tmp_path.rglob("*")) == []
    threads, sockets = map(int, done.stdout.split())
    assert sockets == 0
    assert threads <= len(os.sched_getaffinity(0))
