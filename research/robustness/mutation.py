"""Mutation testing of the modules that compute numbers, by cosmic-ray, on a sample of its mutants.

    python -m research.robustness.mutation --cosmic-ray .venv-mutation/bin/cosmic-ray --output docs/results/mutation.md

cosmic-ray changes one operator, comparison, number or statement at a time, in a copy of the repository, and runs the
tests of the module. A mutant is killed if a test fails. The sample of each module depends on the seed alone. Two
operators are omitted: `|`, which occurs in annotations, and the removal of decorators, which are caches.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
MODULES = {
    "labels/background.py": "tests/labels/test_three_signal.py",
    "labels/band.py": "tests/labels/test_band.py",
    "labels/components.py": "tests/labels/test_three_signal.py tests/corpus/test_tracks.py",
    "labels/composite.py": "tests/labels/test_composite.py",
    "labels/curves.py": "tests/labels/test_three_signal.py",
    "labels/ensemble.py": "tests/labels/test_ensemble.py",
    "labels/intrusive.py": "tests/labels/test_intrusive.py",
    "labels/label_set.py": "tests/labels/test_label_set.py",
    "labels/pairing.py": "tests/labels/test_pairing.py",
    "labels/speech.py": "tests/labels/test_speech.py",
    "labels/three_signal.py": "tests/labels/test_three_signal.py",
    "audio/windows.py": "tests/audio/test_windows.py",
    "evaluation/statistics.py": "tests/evaluation/test_stats.py tests/evaluation/test_bootstrap.py",
    "scoring/intervals.py": "tests/scoring/test_intervals.py",
    "training/calibration.py": "tests/training/test_calibration.py",
}
"""Module of the package -> its tests"""
OMITTED = ("core/ReplaceBinaryOperator_BitOr_", "core/RemoveDecorator")
"""Beginnings of the names of operators that are not applied"""
GOAL = 0.8
TIMEOUT_S = 120
"""Seconds after which a mutant counts as killed"""


@dataclass(frozen=True)
class Mutant:
    """A change of one module, and whether a test noticed it."""

    module: str
    operator: str
    line: int
    killed: bool
    diff: str


def configuration(module: str, tests: str) -> str:
    """Return the configuration of cosmic-ray for a module."""
    command = f"{sys.executable} -m pytest -x -q -p no:cacheprovider -p no:xdist {tests}"
    return (
        f'[cosmic-ray]\nmodule-path = "src/mtqnet/{module}"\ntimeout = {TIMEOUT_S}\nexcluded-modules = []\n'
        f'test-command = "{command}"\n[cosmic-ray.distributor]\nname = "local"\n'
    )


def sample(database: Path, mutants: int, seed: str) -> int:
    """Keep a sample of the mutants of a session; return how many there were."""
    with sqlite3.connect(database) as session:
        rows = session.execute("SELECT job_id, operator_name FROM mutation_specs ORDER BY job_id").fetchall()
        order = "operator_name, occurrence, start_pos_row"
        specs = session.execute(f"SELECT job_id, operator_name FROM mutation_specs ORDER BY {order}").fetchall()
        eligible = [job for job, operator in specs if not operator.startswith(OMITTED)]
        chosen = set(random.Random(seed).sample(eligible, min(mutants, len(eligible))))
        dropped = [(job,) for job, _ in rows if job not in chosen]
        for table in ("mutation_specs", "work_items"):
            session.executemany(f"DELETE FROM {table} WHERE job_id = ?", dropped)
    return len(eligible)


def results(database: Path, module: str) -> list[Mutant]:
    """Read the results of a session."""
    with sqlite3.connect(database) as session:
        rows = session.execute(
            "SELECT operator_name, start_pos_row, test_outcome, diff FROM mutation_specs "
            "JOIN work_results USING (job_id)"
        ).fetchall()
    return [
        Mutant(module, name, line, "SURVIVED" not in str(outcome).upper(), diff)
        for name, line, outcome, diff in rows
    ]


def test_module(tool: Path, copy: Path, module: str, mutants: int, seed: int) -> tuple[int, list[Mutant]]:
    """Run a sample of the mutants of a module; return how many mutants there are, and the results."""
    config, database = copy / "mutation.toml", copy / "mutation.sqlite"
    database.unlink(missing_ok=True)
    config.write_text(configuration(module, MODULES[module]))
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(copy / "src"), str(copy)]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    for step in ("baseline", "init"):
        arguments = [str(config)] if step == "baseline" else [str(config), str(database)]
        run = subprocess.run(
            [tool, step, *arguments], cwd=copy, env=environment, capture_output=True, text=True, check=False
        )
        if run.returncode:
            raise SystemExit(
                f"{module}: the tests fail without a mutant: {run.stdout[-2000:]}{run.stderr[-2000:]}"
            )
    total = sample(database, mutants, f"{module} {seed}")
    subprocess.run([tool, "exec", str(config), str(database)], cwd=copy, env=environment, check=True)
    return total, results(database, module)


def report(found: dict[str, tuple[int, list[Mutant]]], seed: int) -> str:
    """Return the page of the results."""
    mutants = [one for _, several in found.values() for one in several]
    killed = sum(one.killed for one in mutants)
    lines = [
        "# Mutation testing",
        "",
        f"Written by `make mutation` on {date.today()}, seed {seed}. {killed} of {len(mutants)} sampled mutants are "
        f"killed ({killed / max(1, len(mutants)):.0%}; the goal is {GOAL:.0%}).",
        "",
        "| module | mutants | sampled | killed | fraction |",
        "|---|---|---|---|---|",
    ]
    for module, (total, several) in found.items():
        dead = sum(one.killed for one in several)
        lines.append(f"| {module} | {total} | {len(several)} | {dead} | {dead / max(1, len(several)):.0%} |")
    lines += ["", "Survivors (module, line, change):", ""]
    for one in mutants:
        if not one.killed:
            changed = [
                line for line in one.diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")
            ]
            lines.append(
                f"- `{one.module}`, line {one.line}: " + ", ".join(f"`{line.strip()}`" for line in changed)
            )
    return "\n".join([*lines, ""])


def main() -> None:
    """Test the modules, write the page, and exit with 1 if the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cosmic-ray", type=Path, default=Path(".venv-mutation/bin/cosmic-ray"))
    parser.add_argument("--mutants", type=int, default=20, help="sampled mutants of each module")
    parser.add_argument("--module", action="append", choices=sorted(MODULES), help="only these modules")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("docs/results/mutation.md"))
    options = parser.parse_args()
    cache = options.output.with_suffix(".json")
    stored = json.loads(cache.read_text()) if cache.exists() and options.module else {}
    found = {name: (total, [Mutant(**one) for one in several]) for name, (total, several) in stored.items()}
    with TemporaryDirectory() as name:
        copy = Path(name) / "copy"
        copy.mkdir()
        files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        subprocess.run(
            ["tar", "cf", "copy.tar", "-C", ROOT, "-T", "-"], cwd=name, input=files, text=True, check=True
        )
        subprocess.run(["tar", "xf", "copy.tar", "-C", copy], cwd=name, check=True)
        for module in options.module or MODULES:
            began = time.monotonic()
            found[module] = test_module(options.cosmic_ray.absolute(), copy, module, options.mutants, options.seed)
            found = {module: found[module] for module in MODULES if module in found}
            options.output.write_text(report(found, options.seed), encoding="utf-8")
            cache.write_text(
                json.dumps({key: (total, [vars(one) for one in ms]) for key, (total, ms) in found.items()})
            )
            dead = sum(one.killed for one in found[module][1])
            print(f"{module}: {dead}/{len(found[module][1])} killed, {time.monotonic() - began:.0f} s", flush=True)
    mutants = [one for _, several in found.values() for one in several]
    sys.exit(0 if sum(one.killed for one in mutants) >= GOAL * len(mutants) else 1)


if __name__ == "__main__":
    main()
