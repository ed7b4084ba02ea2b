"""Mutation testing of the modules that compute numbers: mutants by cosmic-ray, a sample of them for each module.

    python -m research.robustness.mutation --python .venv-mutation/bin/python --output docs/results/mutation.md

cosmic-ray changes one operator, comparison, number or statement at a time. The tests of the module run with each
mutant in a process that is forked from one with all third-party modules, so that a mutant takes little more than its
tests. A mutant is killed if a test fails, or after LIMIT_S of processor time. The sample depends on the seed alone.
Mutants that change no number are omitted: of `|`, which occurs in annotations, and of lines with a decorator, which are
caches and data classes. With --survivors, mutants that a test killed before are not run again; this is valid if tests
were only added and the module did not change.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from difflib import unified_diff
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src/mtqnet"
MODULES = {
    "labels/background.py": "tests/labels/test_three_signal.py",
    "corpus/ensemble.py": "tests/corpus/test_ensemble.py",
    "labels/intrusive.py": "tests/labels/test_intrusive.py tests/labels/test_composite.py",
    "labels/pairing.py": "tests/labels/test_pairing.py",
    "labels/speech.py": "tests/labels/test_speech.py tests/labels/test_band.py tests/labels/test_three_signal.py",
    "labels/three_signal.py": "tests/labels/test_three_signal.py tests/labels/test_label_set.py",
    "audio/windows.py": "tests/audio/test_windows.py",
    "evaluation/statistics.py": "tests/evaluation/test_stats.py tests/evaluation/test_bootstrap.py",
    "scoring/intervals.py": "tests/scoring/test_intervals.py",
    "training/evaluation.py": "tests/training/test_training_intervals.py",
}
"""Module of the package -> its tests"""
OMITTED = ("core/ReplaceBinaryOperator_BitOr_", "core/RemoveDecorator")
"""Beginnings of the names of operators that are not applied"""
OURS = ("mtqnet", "research", "conftest", "test_", "tests", "__main__", "tiny", "encoded")
"""Beginnings of the names of modules that every mutant imports itself"""
GOAL = 0.8
LIMIT_S = 120
"""Seconds of processor time after which a mutant counts as killed"""
GENERATE = """
import json, random, sys
from pathlib import Path
from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
path, count, seed, omitted = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], tuple(sys.argv[4:])
source = path.read_text()
lines = source.splitlines()
nodes = list(ast_nodes(get_ast(source)))
found = []
for name in sorted(plugins.operator_names()):
    operator = plugins.get_operator(name)
    if not name.startswith(omitted) and not operator.arguments():
        positions = [start for node in nodes for start, _ in operator().mutation_positions(node)]
        found += [
            (name, occurrence, position[0])
            for occurrence, position in enumerate(positions)
            if not lines[position[0] - 1].lstrip().startswith("@")
        ]
chosen = random.Random(seed).sample(found, min(count, len(found)))
mutants = [(name, line, mutate_code(source, plugins.get_operator(name)(), place)) for name, place, line in chosen]
print(json.dumps([len(found), mutants]))
"""


@dataclass(frozen=True)
class Mutant:
    """A change of one module, and whether a test noticed it."""

    module: str
    operator: str
    line: int
    killed: bool
    change: str


class _Loader(importlib.abc.InspectLoader):
    """Loads a module from a text in place of its file."""

    def __init__(self, text: str) -> None:
        self._text = text

    def get_source(self, fullname: str) -> str:  # noqa: ARG002
        return self._text


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module."""

    def __init__(self, name: str, path: Path, text: str) -> None:
        self._name, self._path, self._text = name, path, text

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: types.ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path, loader=_Loader(self._text))


def in_child(work: Callable[[], int]) -> int:
    """Run a function in a forked process; return its result, or -1 if the process was killed."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
            nowhere = os.open(os.devnull, os.O_RDWR)
            for descriptor in range(3):
                os.dup2(nowhere, descriptor)
            code = work()
        finally:
            os._exit(code)
    return max(-1, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def run_tests(tests: str) -> int:
    """Run tests in this process."""
    import pytest

    # Some plugins of pytest were imported before, see `preload`.
    options = [
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
    ]
    return int(pytest.main([*options, *tests.split()]))


def preload(tests: str, folder: Path) -> None:
    """Import the third-party modules that tests use. Raises SystemExit if the tests fail."""
    listed = folder / "modules.json"

    def baseline() -> int:
        code = run_tests(tests)
        listed.write_text(json.dumps(list(sys.modules)))
        return code

    if in_child(baseline):
        raise SystemExit(f"the tests fail without a mutant: {tests}")
    for name in json.loads(listed.read_text()):
        if not name.startswith(OURS):
            with suppress(Exception):
                importlib.import_module(name)


def test_module(
    python: Path, module: str, mutants: int, seed: int, dead: Sequence[Mutant] = ()
) -> tuple[int, list[Mutant]]:
    """Run a sample of the mutants of a module, without those of `dead`; return their number and the results."""
    path, tests = PACKAGE / module, MODULES[module]
    command = [str(python), "-c", GENERATE, str(path), str(mutants), f"{module} {seed}", *OMITTED]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    total, chosen = json.loads(output)
    with TemporaryDirectory() as folder:
        preload(tests, Path(folder))
    name = "mtqnet." + module.removesuffix(".py").replace("/", ".")
    source = path.read_text()

    def outcome(text: str) -> int:
        def mutant() -> int:
            sys.meta_path.insert(0, _Finder(name, path, text))
            return run_tests(tests)

        return in_child(mutant)

    if outcome(source):
        raise SystemExit(f"the tests of {module} fail in a forked process without a mutant")
    found = []
    for operator, line, text in chosen:
        lines = unified_diff(source.splitlines(), text.splitlines(), n=0, lineterm="")
        change = ", ".join(f"`{one.strip()}`" for one in list(lines)[3:])
        known = any((one.line, one.change) == (line, change) for one in dead)
        found.append(Mutant(module, operator, line, known or outcome(text) != 0, change))
    return total, found


def report(found: dict[str, tuple[int, list[Mutant]]], seed: int) -> str:
    """Return the page of the results."""
    mutants = [one for _, several in found.values() for one in several]
    killed = sum(one.killed for one in mutants)
    lines = [
        "# Mutation testing",
        "",
        f"Written by `make mutation` on {date.today()}, seed {seed}. {killed} of {len(mutants)} sampled mutants are "
        f"killed ({killed / max(1, len(mutants)):.0%}; the goal is {GOAL:.0%}). A mutant is a copy of a module with "
        "one changed operator, comparison, number or statement; it is killed if a test fails. Mutants that change no "
        "number (decorators, annotations) are omitted.",
        "",
        "| module | mutants | sampled | killed | fraction |",
        "|---|---|---|---|---|",
    ]
    for module, (total, several) in found.items():
        dead = sum(one.killed for one in several)
        lines.append(f"| {module} | {total} | {len(several)} | {dead} | {dead / max(1, len(several)):.0%} |")
    if missing := [module for module in MODULES if module not in found]:
        lines += ["", f"Not run yet: {', '.join(missing)}."]
    lines += ["", "## Surviving mutants", "", "| module | line | original | mutant |", "|---|---|---|---|"]
    lines += [f"| {one.module} | {one.line} | {_sides(one.change)} |" for one in mutants if not one.killed]
    return "\n".join([*lines, ""])


def _sides(change: str) -> str:
    """Return the first line that a mutant removes, and the one that it adds, as two cells."""
    removed, added = re.search(r"`-(.*?)`, ", change + ", "), re.search(r"`[+](.*?)`, ", change + ", ")
    return " | ".join(f"`{(one[1] if one else '').strip().replace('|', '&#124;')}`" for one in (removed, added))


def main() -> None:
    """Test the modules, write the page, and exit with 1 if the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, default=Path(".venv-mutation/bin/python"), help="with cosmic-ray")
    parser.add_argument("--mutants", type=int, default=20, help="sampled mutants of each module")
    parser.add_argument(
        "--module", action="append", choices=sorted(MODULES), help="only these; others stay in the page"
    )
    parser.add_argument("--survivors", action="store_true", help="omit mutants that were killed before")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("docs/results/mutation.md"))
    options = parser.parse_args()
    os.chdir(ROOT)
    cache = options.output.with_suffix(".json")
    stored = json.loads(cache.read_text()) if cache.exists() and options.module else {}
    found = {name: (total, [Mutant(**one) for one in several]) for name, (total, several) in stored.items()}
    for module in options.module or MODULES:
        began = time.process_time()
        before = found.get(module, (0, []))[1] if options.survivors else []
        dead = [one for one in before if one.killed]
        found[module] = test_module(options.python, module, options.mutants, options.seed, dead)
        found = {module: found[module] for module in MODULES if module in found}
        options.output.write_text(report(found, options.seed), encoding="utf-8")
        cache.write_text(
            json.dumps({key: (total, [vars(one) for one in several]) for key, (total, several) in found.items()})
        )
        killed = sum(one.killed for one in found[module][1])
        print(
            f"{module}: {killed} of {len(found[module][1])} killed {time.process_time() - began:.0f}", flush=True
        )
    mutants = [one for _, several in found.values() for one in several]
    sys.exit(0 if sum(one.killed for one in mutants) >= GOAL * len(mutants) else 1)


if __name__ == "__main__":
    main()
