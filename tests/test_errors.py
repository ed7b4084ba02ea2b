"""The tree of exceptions and its four exit codes."""

from __future__ import annotations

import pytest

from mtqnet import errors
from mtqnet.errors import AudioError, GateError, MissingExtraError, MtqnetError, UsageError, missing_extra

CLASSES = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MtqnetError)]


@pytest.mark.parametrize("kind", CLASSES)
def test_exit_codes_are_one_two_or_three(kind: type[MtqnetError]) -> None:
    gates = {GateError, errors.NotBetterError}
    expected = 1 if issubclass(kind, AudioError) else 3 if kind in gates else 2
    assert kind.exit_code == expected


@pytest.mark.parametrize("kind", CLASSES)
def test_docstring_draws_the_whole_tree(kind: type[MtqnetError]) -> None:
    assert errors.__doc__ is not None
    assert kind.__name__ in errors.__doc__


def test_some_errors_are_also_builtin_exceptions() -> None:
    assert issubclass(UsageError, ValueError)
    assert issubclass(MissingExtraError, ImportError)


def test_missing_extra_names_the_commands_that_install_it() -> None:
    message = str(missing_extra("training", "train"))
    assert "pip install 'mtqnet[train]'" in message
    assert "pip install '.[train]'" in message
