"""Sources of noise: recordings of real environments and machines, in the form of the catalogue.

A recording that the older folder noise_mixed_cc contains in part keeps that folder's group, and only its later part is
used, so that one recording is never in two splits.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from research.sources.catalogue import Material, Source, paths
from research.sources.routes import Debian, Files, Git, read_one

Named = Mapping[str, tuple[str, str, str]]
"""File -> (kind, licence, credit)"""

DONATED_PER_FAMILY = 2
_ESC = re.compile(r"\*\*\[?(\d-[\w-]+)\.\w+.*?:\s+clip derived from .* by \*(.+?)\* \(\[(CC0|CC-BY)\]")
_ESC_KINDS = {"Rain": "rain_water", "Sea waves": "rain_water", "Helicopter": "transport", "Chainsaw": "machine",
              "Fire crackling": "fire", "Clock tick": "household", "Baby cry": "human", "Person sneeze": "human",
              "Dog bark": "animal_voice", "Rooster": "animal_voice"}  # fmt: skip


def _esc(files: Files) -> list[Material]:
    """The clips whose entry in the README names CC0 or CC BY; clips of one Freesound recording are one group."""
    entries = {match[1]: match for match in _ESC.finditer(read_one(files, "README.md").decode())}
    made = []
    for path, match in paths(files, r"\d+ - ([\w ]+)/((\d-\d+)-\w)\.ogg"):
        if (entry := entries.get(match[2])) is None:
            continue
        licence = {"CC0": "CC0", "CC-BY": "CC BY 3.0"}[entry[3]]
        recording = match[3].split("-")[1]
        made.append(
            Material(
                path, kind=_ESC_KINDS[match[1]], licence=licence, credit=f"{entry[2]} (Freesound {recording})",
                group=f"freesound/{recording}",
            )
        )  # fmt: skip
    return made


def _named(
    table: Named, groups: Mapping[str, tuple[str, float]] | None = None
) -> Callable[[Files], list[Material]]:
    """Exactly these files; `groups` has, of those in noise_mixed_cc, the group there and the seconds it has."""

    def select(files: Files) -> list[Material]:
        there = set(files.paths())
        made = []
        for path, (kind, licence, credit) in table.items():
            if path in there:
                group, skip = (groups or {}).get(path, ("", 0.0))
                made.append(
                    Material(path, kind=kind, licence=licence, credit=credit, group=group, skip_s=skip)
                )  # fmt: skip
        return made

    return select


def _pattern(pattern: str, kind: str, group: str = "") -> Callable[[Files], list[Material]]:
    """All files that match; the groups of the pattern may be used in `group`."""

    def select(files: Files) -> list[Material]:
        return [
            Material(path, kind=kind, group=match.expand(group) if group else "")
            for path, match in paths(files, pattern)
        ]

    return select


def _megaglest(files: Files) -> list[Material]:
    """Ambience of the landscapes; the same file in two landscapes is taken once."""
    kinds = {"rain": "rain_water", "wind": "wind"}
    return [
        Material(path, kind=kinds.get(PurePosixPath(path).stem, "nature"))
        for path, _ in paths(files, r"usr/share/games/megaglest/tilesets/[^/]+/sounds/[^/]+\.(?:ogg|wav)")
    ]


def _widelands(files: Files) -> list[Material]:
    kinds = {"animals": "animal_voice", "metal": "machine", "mill": "machine", "sawmill": "machine"}
    found = paths(files, r"usr/share/games/widelands/data/sound/(\w+)/.*\.ogg")
    return [Material(path, kind=kinds.get(match[1], "household")) for path, match in found]


def _donated(files: Files) -> list[Material]:
    """Babies; one uploading telephone is one group."""
    count: Counter[str] = Counter()
    made = []
    for path, match in paths(files, r"donateacry_corpus_cleaned_and_updated_data/\w+/([0-9A-Fa-f]{8})-[^/]+\.wav"):
        family = match[1].lower()
        count[family] += 1
        if count[family] <= DONATED_PER_FAMILY:
            made.append(Material(path, kind="human", group=f"donateacry/{family}"))
    return made


_SOUNDS = "data/resources/sounds"
_OLD = "noise_mixed_cc"

NOISE: tuple[Source, ...] = (
    Source(
        "esc-10",
        "noise",
        Git("karolpiczak/ESC-10", "553c8f1743b9dba6b282e1323c3ca8fa76923448"),
        "per file",
        "ESC-10, Karol J. Piczak",
        ("README.md", "[CC0](http://creativecommons.org/publicdomain/zero/1.0/)"),
        _esc,
    ),
    Source(
        "megaglest",
        "noise",
        Debian("megaglest-data", "3.13.0-3"),
        "CC BY-SA 3.0",
        "The Glest Team",
        ("usr/share/doc/megaglest-data/copyright", "License: CC-BY-SA-3.0"),
        _megaglest,
    ),
    Source(
        "scikit-maad",
        "noise",
        Git("scikit-maad/scikit-maad", "a726add0f86b70a7c59f2a1b4ba5978f7ca8fdf1"),
        "BSD-3-Clause",
        "scikit-maad developers, recordings in the Jura and in Colombia",
        ("LICENSE", "Redistribution and use in source and binary forms"),
        # one microphone in one forest for a day: recordings of one hour are one group
        lambda files: [
            *_pattern(r"data/indices/S4A\d+_\d+_(\d\d)\d+\.wav", "nature", r"scikit-maad/forest-\1")(files),
            *_pattern(r"data/spinetail\.wav", "nature")(files),
        ],
    ),
    Source(
        "ambientsounds",
        "noise",
        Git("Muges/ambientsounds", "7ef9aefeeed93c37bca3cdb246a982dd1afce2f0"),
        "per file",
        "Muges/ambientsounds",
        ("readme.md", "will\nonly contain free sounds"),
        _named(
            {
                "fireplace.ogg": ("fire", "CC0", "inchadney"),
                "forest-rain.ogg": ("rain_water", "CC BY", "Corsica_S"),
                "stream.ogg": ("rain_water", "CC BY", "mystiscool"),
                "thunderstorm.ogg": ("rain_water", "CC BY", "RHumphries"),
                "wind.ogg": ("wind", "CC0", "felix.blume"),
            },
            {
                "fireplace.ogg": (f"{_OLD}/fire/ambient_fireplace.flac", 75.0),
                "forest-rain.ogg": (f"{_OLD}/rain_water/ambient_forest-rain.flac", 75.0),
                "stream.ogg": (f"{_OLD}/rain_water/ambient_stream.flac", 75.0),
                "thunderstorm.ogg": (f"{_OLD}/rain_water/ambient_thunderstorm.flac", 75.0),
                "wind.ogg": (f"{_OLD}/wind/ambient_wind.flac", 75.0),
            },
        ),
    ),
    Source(
        "blanket",
        "noise",
        Git("rafaelmardojai/blanket", "8b1c27aedde1d6ad8053ce5ad351a2924bcdb766"),
        "per file",
        "rafaelmardojai/blanket",
        ("SOUNDS_LICENSING.md", "| CC BY"),
        _named(
            {
                f"{_SOUNDS}/birds.ogg": ("nature", "CC0", "kvgarlic"),
                f"{_SOUNDS}/rain.ogg": ("rain_water", "CC BY", "alex36917"),
                f"{_SOUNDS}/waves.ogg": ("rain_water", "CC BY", "Luftrum"),
                f"{_SOUNDS}/coffee-shop.ogg": ("crowd", "public domain", "stephan"),
            },
            {
                f"{_SOUNDS}/birds.ogg": (f"{_OLD}/nature/blanket_birds.flac", 75.0),
                f"{_SOUNDS}/waves.ogg": (f"{_OLD}/rain_water/blanket_waves.flac", 75.0),
            },
        ),
    ),
    Source(
        "gui-project",
        "noise",
        Git("DrunkenToast/gui-project", "52d6f58b32c44ef118428c1ef801785a8981fea4"),
        "per file",
        "DrunkenToast/gui-project",
        ("sounds/sound_licensing_blanket.md", "Self added sounds"),
        _named(
            {
                "sounds/construction.ogg": ("machine", "CC BY 3.0", "Tomlija (Freesound 98024)"),
                "sounds/leaves.ogg": ("nature", "CC BY 4.0", "juskiddink (Freesound 78955)"),
                "sounds/farm.ogg": ("animal_voice", "CC0", "titi2 (Freesound 567523)"),
                "sounds/owls.ogg": ("animal_voice", "CC BY 4.0", "Benboncan (Freesound 63220)"),
            }
        ),
    ),
    Source(
        "noisekun",
        "noise",
        Git("mateusfg7/Noisekun", "e459278255669dac4126d0a00ed6282ead8ff2f4"),
        "per file",
        "mateusfg7/Noisekun",
        ("README.md", "https://freesound.org/people/straget/sounds/489073/"),
        _named(
            {
                f".github/assets/sounds/{name}.ogg": facts
                for name, facts in {
                    "leaves": ("nature", "CC0", "Stek59 (Freesound 457318)"),
                    "storm": ("rain_water", "CC0", "Borys Kozielski (Freesound 316831)"),
                    "underwater": ("rain_water", "CC0", "Tim Verberne (Freesound 482167)"),
                    "waterfall": ("rain_water", "CC BY", "straget (Freesound 489073)"),
                    "rain-on-tent": ("rain_water", "CC BY 4.0", "Garuda1982 (Freesound 523397)"),
                    "wind": ("wind", "CC0", "felix.blume (Freesound 217506)"),
                }.items()
            },
            {".github/assets/sounds/wind.ogg": (f"{_OLD}/wind/blanket_wind.flac", 15.0)},
        ),
        note="Only the sounds that are credited to Freesound; claims of CC0 for videos cannot be checked",
    ),
    Source(
        "alarm-clock",
        "noise",
        Git("jtgsystems/modern-alarm-clock", "552ffc6f2ae65a0933ff983a0ba15db07488be67"),
        "CC0",
        "per file",
        ("docs/soundscape-assets.md", "Creative Commons 0"),
        _named(
            {
                f"public/sfx/{name}.mp3": (kind, "CC0", credit)
                for name, kind, credit in (
                    ("forest", "nature", "Fester993 (Freesound 564436)"),
                    ("thunder", "rain_water", "bastipictures (Freesound 243777)"),
                    ("waves", "rain_water", "Profispiesser (Freesound 550915)"),
                    ("wind", "wind", "juryduty (Freesound 185070)"),
                    ("fireplace", "fire", "NoOneIsReal (Freesound 387127)"),
                    ("city", "street", "Joao_Janz (Freesound 473701)"),
                    ("rain", "rain_water", "Opticreep (Freesound 320520)"),
                )
            }
        ),
    ),
    Source(
        "quietsleep",
        "noise",
        Git("billzou1982/quietsleep", "fe1acb8e8b8fd01413ec5ea8f0b34c5e5d3f5545"),
        "CC0",
        "per file",
        ("public/audio/LICENSES.md", "## CC0 Public Domain"),
        _named(
            {
                "public/audio/rain.mp3": ("rain_water", "CC0", "Kenney (OpenGameArt)"),
                "public/audio/forest-night-insects.mp3": ("nature", "CC0", "JaggedStone (OpenGameArt)"),
            }
        ),
    ),
    Source(
        "arabic-background",
        "noise",
        Git("abdulkaderghandoura/arabic-speech-commands-dataset", "72f3438212ff6cf8fbe5ae8068361840646429bd"),
        "CC BY 4.0",
        "Ghandoura, Hjabo, Al Dakkak: Arabic Speech Commands Dataset",
        ("LICENSE", "Attribution 4.0 International"),
        _pattern(r"background_noise/\w+\.wav", "household"),
    ),
    Source(
        "precise-background",
        "noise",
        Git("MycroftAI/Precise-Community-Data", "8a6760313b89846c4f41f86be340aa232636b92f"),
        "public domain",
        "JarbasAl, Mycroft community",
        ("licenses/license-20201215-jarbas.txt", "not-wake-words/noises/bg_noise-20201215-jarbas.tar.gz"),
        _pattern(r"not-wake-words/noises/bg_noise-20201215-jarbas\.tar\.gz", "household"),
    ),
    Source(
        "widelands",
        "noise",
        Debian("widelands-data", "2:1.1-3"),
        "GPL-2+",
        "Widelands Development Team",
        ("usr/share/doc/widelands-data/copyright", "License: GPL-2+"),
        _widelands,
    ),
    Source(
        "donateacry",
        "noise",
        Git("gveres/donateacry-corpus", "6baf5aca0460964ad072653585837f968a87c2af"),
        "ODbL 1.0, contents DbCL 1.0",
        "Donate-a-cry campaign",
        ("README.md", "Open Database License"),
        _donated,
        note="At most two recordings of one family, so that crying does not dominate; most are narrowband",
    ),
)
