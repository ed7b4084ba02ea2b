"""Golden scores with the oldest and newest dependencies, and on processors without some instruction sets.

    python -m research.robustness.golden --output docs/results/golden.md                       (make golden)

Every combination scores the recordings and signals of tests/golden in an environment of its own and is compared with
tests/golden/scores.json. Instruction sets are hidden by cpuid_mask.c. Run it again when weights or floors change.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/golden"
TOLERANCE = 1e-5
"""As in tests/golden/test_golden.py"""
NUMERIC = ("numpy", "onnxruntime", "soundfile", "soxr")
"""Dependencies that compute scores"""
PROCESSORS = {
    "as it is": None,
    "without VNNI and AMX": "no_vnni",
    "without AVX-512, VNNI and AMX": "avx2",
    "SSE4 only": "sse",
}
"""Description -> value of MTQNET_CPU"""
RUN = """
import json, sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
from record import MODELS, scores
from importlib.metadata import version
found = {name: version(name) for name in sys.argv[2:]}
print(json.dumps([found, {model: scores(model) for model in MODELS}]))
"""

Table = Mapping[str, Mapping[str, Any]]


def floors() -> list[str]:
    """Return the oldest versions that pyproject.toml accepts of the dependencies that compute scores."""
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    found = dict(re.fullmatch(r"([\w-]+)>=([\d.]+).*", need).groups() for need in needed)  # type: ignore[union-attr, misc]
    return [f"{name}=={found[name]}" for name in NUMERIC]


def pinned() -> list[str]:
    """Return the versions of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line.split("==")[0] in NUMERIC]


def environment(folder: Path, packages: list[str]) -> Path:
    """Create an environment with these packages unless it exists; return its interpreter."""
    python = folder / "bin/python"
    if not (folder / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *packages], check=True)
        (folder / "done").touch()
    return python


def mask(folder: Path) -> Path | None:
    """Compile the library that hides instruction sets; None where that is not possible."""
    flags = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not flags.exists() or "cpuid_fault" not in flags.read_text():
        return None
    library = folder / "cpuid_mask.so"
    source = Path(__file__).with_name("cpuid_mask.c")
    command = ["gcc", "-shared", "-fPIC", "-O2", "-o", str(library), str(source)]
    return library if subprocess.run(command, check=False).returncode == 0 else None


def measure(python: Path, library: Path | None, hidden: str | None) -> tuple[dict[str, str], Table] | str:
    """Return versions and scores, or the last line of the error."""
    variables = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    if hidden is not None:
        variables |= {"MTQNET_CPU": hidden, "LD_PRELOAD": str(library)}
    command = [str(python), "-c", RUN, str(GOLDEN), *NUMERIC]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    found: tuple[dict[str, str], Table] = tuple(json.loads(done.stdout))
    return found


def compare(scores: Mapping[str, Any], expected: Mapping[str, Any]) -> tuple[int, int, float]:
    """Return how many of the signals have equal scores, how many there are, and the largest difference."""
    equal, largest = 0, 0.0
    for name, row in expected.items():
        other = scores.get(name)
        equal += other == row
        if isinstance(row, str) or not isinstance(other, dict):
            largest = largest if other == row else float("inf")
            continue
        gaps = [abs(row[key] - other[key]) for key in row if row[key] is not None and other[key] is not None]
        largest = max([largest, *gaps])
    return equal, len(expected), largest


def processor() -> str:
    """Return the name of this processor and its instruction sets that matter."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = re.search(r"model name\s*: (.*)", text)
    sets = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8") if f" {flag}" in text]
    return f"{name[1] if name else platform.processor()} ({', '.join(sets)})"


def digests() -> str:
    """Return the names of the shipped models and the beginnings of their digests."""
    records = [json.loads(path.read_text()) for path in sorted((ROOT / "src/mtqnet/weights").glob("*.json"))]
    return ", ".join(f"{record['name']} {record['sha256'][:8]}" for record in records)


def report(lines: list[str]) -> str:
    """Return the page with the table of these lines."""
    page = [
        "# Golden scores",
        "",
        f"Written by `make golden` on {date.today()}. Recordings and generated signals of `tests/golden`, compared "
        "with the committed scores. *Equal*: all values, including the ends of intervals, agree in seven decimals. "
        f"*Largest difference* is that of any value, in its unit; the target is {TOLERANCE:g}.",
        "",
        "Larger differences miss the target. Versions and instruction sets add in different orders, which changes the "
        "last digits of floats. `base` rounds activations to 8 bits in nine layers, where such a change can become "
        "another 8-bit value; `small` computes in 32-bit floats, and its differences are smaller.",
        "",
        f"Processor: {processor()}, Python {platform.python_version()}. Instruction sets are hidden by making `cpuid` "
        "fault (`research/robustness/cpuid_mask.c`), so the code paths are those of such processors. "
        f"Models: {digests()}.",
        "",
        *lines,
        "",
        "Not measured: processors of AMD and Arm, macOS, Windows.",
        "",
    ]
    return "\n".join(page)


def main() -> int:
    """Measure all combinations and write the page; 1 if one differs by more than TOLERANCE."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("build/golden"), help="environments")
    parser.add_argument("--output", type=Path, default=Path("docs/results/golden.md"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    folder = options.folder.absolute()
    library = mask(folder)
    expected = json.loads((GOLDEN / "scores.json").read_text())
    kinds = {"oldest": floors(), "pinned": pinned(), "newest": list(NUMERIC)}
    head = [
        "versions",
        "processor",
        *(f"{model}: {what}" for model in expected for what in ("equal", "largest difference")),
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    good = True
    for kind, packages in kinds.items():
        python = environment(folder / kind, packages)
        for name, hidden in PROCESSORS.items():
            if hidden is not None and (library is None or kind == "newest"):
                continue
            result = measure(python, library, hidden)
            if isinstance(result, str):
                good, cells = False, [result]
            else:
                cells = []
                for model, rows in expected.items():
                    equal, total, largest = compare(result[1][model], rows)
                    good &= largest <= TOLERANCE or hidden == "sse"
                    cells += [f"{equal} of {total}", f"{largest:.1g}"]
                kind = f"{kind.split(':')[0]}: " + ", ".join(f"{key} {value}" for key, value in result[0].items())
            lines.append("| " + " | ".join([kind, name, *cells]) + " |")
            print(lines[-1], flush=True)
            options.output.write_text(report(lines), encoding="utf-8")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
