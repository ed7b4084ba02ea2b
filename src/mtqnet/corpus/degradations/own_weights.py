"""Files with weights that the project trained for the corpus; they are part of the repository, not of the package."""

from __future__ import annotations

from pathlib import Path

from mtqnet.corpus.degradations.weights import VARIABLE, weights_folder
from mtqnet.errors import MissingExtraError

CHECKOUT = Path(__file__).parents[4] / "research" / "neural" / "weights"
"""Where a checkout of the repository has them"""


def own_weights(folder: str, name: str) -> Path:
    """Path of a file, from the folder of weights (weights.py) or the checkout. Raises MissingExtraError."""
    for root in (weights_folder(), CHECKOUT):
        path = root / folder / name
        if path.is_file():
            return path
    raise MissingExtraError(
        f"{folder}/{name} does not exist: copy research/neural/weights/{folder} of the mtqnet repository into the "
        f"folder that {VARIABLE} names"
    )
