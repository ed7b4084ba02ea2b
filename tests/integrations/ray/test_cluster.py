"""An error of a cluster is reported in one line, with the reason and what to do."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mtqnet.errors import MtqnetError, UsageError
from mtqnet.integrations.ray import engine


class GoneError(Exception):
    """Replacement of an exception of Ray."""


RAY = SimpleNamespace(exceptions=SimpleNamespace(RayError=GoneError))


def test_reason_is_what_ray_wrapped() -> None:
    says = r"^the cluster failed \(no room on the disk\); .* run the command again"
    with pytest.raises(MtqnetError, match=says), engine.cluster_errors(RAY):
        raise GoneError("a trace\nof many\nlines") from OSError("no room on the disk\nof node 3")


def test_own_errors_stay_what_they_are() -> None:
    with pytest.raises(UsageError, match=r"^that is no folder$"), engine.cluster_errors(RAY):
        raise UsageError("that is no folder")
