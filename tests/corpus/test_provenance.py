"""The recipe version is raised by hand, and this file detects a changed draw for which it was not raised."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata

from mtqnet.corpus.recipe import PACKAGES, RECIPE_VERSION, draw, provenance, scenes_record
from mtqnet.corpus.sources import SPLITS, Item, Pool

PINNED = (5, "abb49427c0a3b980")
"""Recipe version, and the digest of the draws that belongs to it"""


def digest_of_draws() -> str:
    """Digest of the scenes and of 100 recipes for each split, drawn from recordings that need not exist."""
    speech, noise, rooms = (
        tuple(Item(f"{kind}/{n}.wav", str(n), 9.0) for n in range(12)) for kind in ("speech", "noise", "rooms")
    )
    pool = Pool(speech, noise, rooms)
    drawn = [draw(pool, split, clip, seed=1).to_json() for split in SPLITS for clip in range(100)]
    return hashlib.sha256(json.dumps([scenes_record(), drawn]).encode()).hexdigest()[:16]


def test_changed_draws_need_a_new_recipe_version() -> None:
    assert (RECIPE_VERSION, digest_of_draws()) == PINNED, (
        "the same seed draws other clips: raise RECIPE_VERSION in corpus/recipe.py and pin the new pair here"
    )


def test_record_names_recipe_version_and_packages_and_no_source_file() -> None:
    record = provenance()
    assert set(record) == {"recipe_version", "packages"}
    assert record["packages"]["numpy"] == metadata.version("numpy")
    assert set(record["packages"]) == set(PACKAGES)
