"""Results as tables on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from mtqnet.scoring.scores import digits
from mtqnet.targets import BY_KEY, Target

if TYPE_CHECKING:
    from mtqnet.evaluation.compare import Compared
    from mtqnet.evaluation.evaluate import Evaluation
    from mtqnet.evaluation.gate import Outcome
    from mtqnet.evaluation.statistics import Estimate


def evaluation(made: Evaluation) -> Table:
    """A row a target and level; figures that nothing has are left out."""
    from mtqnet.evaluation.evaluate import NAMES, cell
    from mtqnet.evaluation.statistics import FIGURES

    shown = [name for name in FIGURES if any(cell(one.figures[name]) for one in made.agreements)]
    grid = _grid(("score", "per"), ("items", *(NAMES[name] for name in shown)))
    for one in made.agreements:
        cells = (cell(one.figures[name]).replace(" [", "\n[") or "-" for name in shown)
        grid.add_row(_name(one.target), one.level, str(len(one.pairs.names)), *cells)
    return grid


def comparison(made: Compared) -> Table:
    """A row a target, group and two sets; what was found is green or red."""
    grouped = any(one.group for one in made.comparisons)
    left = ("group", "score") if grouped else ("score",)
    two = made.names if len(made.names) == 2 else ("first", "second")
    grid = _grid(left, (*two, "difference", "95 % interval", "effect", "items"))
    for one in made.comparisons:
        target, found = BY_KEY[one.target], one.difference
        means = ((one.first, one.first_mean), (one.second, one.second_mean))
        sets = (f"{'' if name in two else name} {_own(target, e.value)}".strip() for name, e in means)
        style = ("green" if one.second_is_better else "red") if found.found else ""
        group = ((one.group or "all"),) if grouped else ()
        numbers = (*_difference(target, found), f"{found.effect:+.2f}", str(found.items))
        grid.add_row(*group, _name(one.target), *sets, *numbers, style=style)
    return grid


def gate(made: Outcome) -> Table:
    """A row a limit."""
    grid = _grid(("asked", "", "found", "recordings beyond it"), ())
    for check in made.checks:
        style = "green" if check.passed else "bold red"
        beyond = (
            f"{len(check.beyond)} of {made.recordings - len(made.unscored)}"
            if check.limit.kind != "max-drop"
            else ""
        )
        grid.add_row(check.limit.says, "passed" if check.passed else "failed", check.found, beyond, style=style)
    return grid


def _grid(left: tuple[str, ...], right: tuple[str, ...]) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in left:
        grid.add_column(heading, no_wrap=True)
    for heading in right:
        grid.add_column(heading, justify="right")
    return grid


def _name(key: str) -> str:
    return BY_KEY[key].name.split()[0]


def _own(target: Target, value: float) -> str:
    """A mean in the target's own unit: of a ratio, the geometric mean."""
    return digits(target, 10**value if target.log else value)


def _difference(target: Target, found: Estimate) -> tuple[str, str]:
    """Difference and interval; of a ratio, the factor."""
    if target.log:
        return f"x {10**found.value:.2f}", f"[{10**found.low:.2f}, {10**found.high:.2f}]"
    decimals = 2 if target.high > 1 else 3
    return f"{found.value:+.{decimals}f}", f"[{found.low:+.{decimals}f}, {found.high:+.{decimals}f}]"
