"""All kinds of processing that a clip can go through: frozen dataclasses, the steps. Their fields are the parameters
that a recipe writes down, `draw` picks them from a random generator, and calling the step applies it.

Each class that is defined in one of MODULES, can be called and is no base class is a step; how often it occurs is
defined in corpus/recipe.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping
from importlib.util import find_spec
from typing import Any

from mtqnet.corpus.degradations import (
    codecs,
    device,
    generative,
    network,
    neural_suppressors,
    noise,
    room,
    speech_codecs,
    suppressors,
)
from mtqnet.corpus.degradations.step import EXTRA, Need, Step
from mtqnet.errors import CorpusError, MissingExtraError

NOISE, SUPPRESSION, CODEC = "background noise", "suppression", "codec"
LOSS, ROOM, BAND, MODULATED = "packet loss", "reverberation", "band limitation and clipping", "modulated noise"
VOCODER = "neural codec or vocoder"
KINDS = (NOISE, SUPPRESSION, CODEC, VOCODER, LOSS, ROOM, BAND, MODULATED)
"""Kinds of processing that have weights of their own in the label ensemble"""

MODULES = {
    room: ROOM, device: BAND, noise: NOISE, suppressors: SUPPRESSION, neural_suppressors: SUPPRESSION,
    codecs: CODEC, speech_codecs: CODEC, generative: CODEC, network: LOSS,
}  # fmt: skip
"""Module -> kind of its steps, with the exception of OTHER_KINDS"""
OTHER_KINDS = {"Mnru": MODULATED, **dict.fromkeys(("AutomaticGain", "DcOffset", "Playback", "Splice"), "")}
"""Empty for steps that change the level alone"""
GENERATED = frozenset({"LyraV2", "NeuralVocoder", "Resynthesis"})
"""Steps that `kinds_of` counts as VOCODER instead of CODEC: the decoder makes a new waveform"""

STEPS: dict[str, Any] = {
    name: value
    for module in MODULES
    for name, value in vars(module).items()
    if inspect.isclass(value) and value.__module__ == module.__name__
    if "__call__" in dir(value) and not value.__subclasses__()
}
"""All steps by name"""
KIND_OF: Mapping[str, str] = {
    name: OTHER_KINDS.get(name, kind)
    for module, kind in MODULES.items()
    for name, step in STEPS.items()
    if step.__module__ == module.__name__
}
"""Step -> kind of processing"""
LABELS = ("pesq", "pystoi", "scipy", "pyarrow")
"""Modules of the extra `corpus` that every clip needs"""


def kinds_of(steps: Iterable[str]) -> tuple[str, ...]:
    """The kinds of processing in a recipe, each once, in the order of KINDS.

    Where a suppressor has changed the background, the kind "background noise" is omitted. Raises CorpusError for
    an unknown step.
    """
    found = set()
    for step in steps:
        if step not in STEPS:
            raise CorpusError(f"unknown step {step!r}: the corpus was built by another version")
        found.add(VOCODER if step in GENERATED else KIND_OF[step])
    if SUPPRESSION in found:
        found.discard(NOISE)
    return tuple(kind for kind in KINDS if kind in found)


def missing(kind: str) -> list[Need]:
    """What is not installed of what this kind needs."""
    return [need for need in getattr(STEPS[kind], "NEEDS", ()) if not need.present()]


def require(kinds: Collection[str]) -> None:
    """Raise MissingExtraError, with what is missing and how to install it, unless these kinds can be applied."""
    lacking = {kind: found for kind in sorted(kinds) if (found := missing(kind))}
    needed = {need.name: need.install for found in lacking.values() for need in found}
    needed |= {name: EXTRA for name in LABELS if find_spec(name) is None}
    if not needed:
        return
    without = "".join(f" --without {kind}" for kind in lacking)
    instead = (
        f" Or build without these kinds of processing:{without}, or --without missing (in a training configuration: "
        'without = ["missing"] in [corpus])'
    )
    raise MissingExtraError(
        f"the corpus needs {', '.join(needed)}. Install them: {'; '.join(dict.fromkeys(needed.values()))}."
        + (instead if lacking else "")
    )


__all__ = ["STEPS", "Step", "kinds_of", "missing", "require"]
