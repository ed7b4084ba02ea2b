"""The tree of errors: scripts can tell the kinds apart, and old habits (`except ValueError`) still work."""

from __future__ import annotations

import pytest

from mtqnet import errors
from mtqnet.errors import AudioError, MissingExtraError, MtqnetError, UsageError, missing_extra

CLASSES = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MtqnetError)]
CONCRETE = [kind for kind in CLASSES if kind not in (MtqnetError, AudioError)]


def test_every_kind_has_its_own_exit_code() -> None:
    codes = [kind.exit_code for kind in CONCRETE]
    assert len(set(codes)) == len(codes)
    # 0 is success, 1 is "some failed", from 64 on shells and systems have meanings of their own.
    assert all(2 <= code < 64 for code in codes)


@pytest.mark.parametrize("kind", CLASSES)
def test_docstring_draws_the_whole_tree(kind: type[MtqnetError]) -> None:
    assert errors.__doc__ is not None
    assert kind.__name__ in errors.__doc__


def test_kinds_are_also_what_python_calls_them() -> None:
    assert issubclass(UsageError, ValueError)
    assert issubclass(MissingExtraError, ImportError)


def test_missing_extra_says_what_to_install() -> None:
    assert str(missing_extra("training", "train")) == (
        "training needs an optional part: pip install 'mtqnet[train]'"
    )
