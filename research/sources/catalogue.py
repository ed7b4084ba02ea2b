"""The sources: where each is, its licence, which files of it are used and who speaks in them.

A source is added here only after its licence text was read; REJECTED lists what was looked at and left out.
Speakers have the name of the source in their identifier, so that identifiers of two sources never collide. Where a
source does not name its speakers, all its recordings share one identifier with `unlabelled` as the least number of
people, and are always in the training split.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from research.sources.routes import Debian, Files, Git, Route, read_one

Form = Literal["sentences", "long", "words", "noise"]


@dataclass(frozen=True)
class Material:
    """One file of a source, and what is known about it."""

    path: str
    speaker: str = ""
    language: str = ""
    kind: str = ""
    """Of noise: street, household, ..."""
    unlabelled: int = 0
    """Least number of speakers behind `speaker`; 0 means that it is one person"""
    licence: str = ""
    credit: str = ""
    """Of this file, if it is not the source's"""
    group: str = ""
    """Of noise: what must not be split; the file itself if empty"""
    skip_s: float = 0.0
    """Seconds at the beginning that are left out"""


@dataclass(frozen=True)
class Source:
    """A source and how it is converted."""

    name: str
    form: Form
    route: Route
    licence: str
    credit: str
    evidence: tuple[str, str]
    """File of the source that states the licence, and a phrase in it that must be there; the second may be empty"""
    select: Callable[[Files], list[Material]]
    minutes_per_speaker: float = 1e9
    note: str = ""

    @property
    def is_speech(self) -> bool:
        return self.form != "noise"


def paths(files: Files, pattern: str) -> list[tuple[str, re.Match[str]]]:
    found = ((path, re.fullmatch(pattern, path)) for path in files.paths())
    return [(path, match) for path, match in found if match]


def by_pattern(pattern: str, speaker: str, language: str, **facts: Any) -> Callable[[Files], list[Material]]:
    """Select by a pattern over the whole path; its groups may be used in `speaker` and `language`."""

    def select(files: Files) -> list[Material]:
        return [
            Material(path, match.expand(speaker), match.expand(language), **facts)
            for path, match in paths(files, pattern)
        ]

    return select


def _speechocean(files: Files) -> list[Material]:
    return [
        Material(path, f"speechocean-{match[1]}", "en")
        for path, match in paths(files, r"WAVE/SPEAKER(\d+)/\d+\.(?:WAV|wav)")
    ]


_PROMPT_LANGUAGES = {"pt_BR": "pt-br", "en_GB": "en-gb"}


def _kde(package: str) -> Callable[[Files], list[Material]]:
    """One voice per language of a KDE teaching program."""

    def select(files: Files) -> list[Material]:
        found = paths(files, r"usr/share/(?:klettres|ktuberling/sounds)/([\w@]+)/.*\.(?:ogg|wav|mp3|flac)")
        made = []
        for path, match in found:
            language = match[1].split("@")[0]
            name = _PROMPT_LANGUAGES.get(language, language)
            made.append(Material(path, f"{package}-{match[1]}", name))
        return made

    return select


_ASTERISK = {
    "en": ("Allison Smith (f)", "en-us"),
    "es": ("Allison Smith (f)", "es-mx"),
    "fr": ("June Wallack (f)", "fr-ca"),
    "it": ("Carlo Flora (m)", "it"),
    "ru": ("ivrvoice.ru (f)", "ru"),
}


def _asterisk(code: str) -> Source:
    speaker, language = _ASTERISK[code]
    licence = "CC BY 3.0" if code == "ru" else "CC BY-SA 3.0"
    package = f"asterisk-core-sounds-{code}-g722"

    def select(files: Files) -> list[Material]:
        found = paths(files, r"usr/share/asterisk/sounds/.*\.g722")
        return [Material(path, speaker, language) for path, _ in found if "/silence/" not in path]

    return Source(
        f"asterisk-{code}",
        "words",
        Debian(package, "1.6.1-1"),
        licence,
        speaker.split(" (")[0],
        (f"usr/share/doc/{package}/copyright", licence.replace("CC ", "CC-").replace(" ", "-")),
        select,
        note="Same voices as the older folder speech_asterisk_5lang, which this replaces",
    )


_DONATED = re.compile(r"([\w/-]+\.wav)\s*$", re.MULTILINE)


def _precise(files: Files) -> list[Material]:
    """Only files that a text in licenses/ puts into the public domain; the author of that text is the credit."""
    authors: dict[str, str] = {}
    for path, match in paths(files, r"licenses/license-\d+-([\w-]+)\.txt"):
        if "public domain" in (text := read_one(files, path).decode(errors="replace")):
            authors.update({PurePosixPath(name).name: match[1] for name in _DONATED.findall(text)})
    made = []
    for path, match in paths(files, r"(?:[\w-]+/)*(en-us|en|es)/[\w-]+\.wav"):
        if path.startswith("heysavant/") or (author := authors.get(PurePosixPath(path).name)) is None:
            continue
        language = match[1][:2]
        made.append(Material(path, f"precise-{author}", language, unlabelled=1, credit=author))
    return made


def _gcin(files: Files) -> list[Material]:
    made = []
    for path, match in paths(files, r"usr/share/gcin-voice/ogg/[^/]+/([35])\.ogg"):
        licence, credit = {
            "3": ("GPL-3 or LGPL-3", "Edward Der-Hua Liu"),
            "5": ("CC BY 3.0", "ChionMeilin with the voice of Chu Lo"),
        }[match[1]]
        made.append(Material(path, f"gcin-{match[1]}", "zh", licence=licence, credit=credit))
    return made


def _alphanumeric(files: Files) -> list[Material]:
    return [
        Material(path, f"alphanumeric-{match[1]}", "en")
        for path, match in paths(files, r"audio_data/\w+/(R_\w+)\.\w+")
    ]


SPEECH: tuple[Source, ...] = (
    Source(
        "speechocean762",
        "sentences",
        Git("jimbozhang/speechocean762", "613968e3b0b789fc33936fb5eba1973176ba7d11"),
        "free for commercial and non-commercial purposes (README)",
        "speechocean762, Zhang et al. 2021",
        ("README.md", "free download for both commercial and non-commercial purposes"),
        _speechocean,
    ),
    Source(
        "fleursdumal",
        "long",
        Git("heitorchang/fleursdumal_librivox", "81961cf355fb139faecbe63d0f244017ee94b86b"),
        "public domain (LibriVox)",
        "LibriVox volunteers, Les Fleurs du mal",
        ("audio/fleursdumal_000_baudelaire_64kb.mp3", ""),
        by_pattern(r"audio/[^/]+\.mp3", "fleursdumal-unlabelled", "fr", unlabelled=15),
        note="Tags of the MP3 files name the LibriVox edition at the Internet Archive",
    ),
    Source(
        "audio-cmn",
        "words",
        Git("hugolpz/audio-cmn", "ff9ed3d0c631195bd2c06f39450f3264c7124040"),
        "CC BY-SA",
        "Yue Tan (words), Chen Wang (syllables); Hugo Lopez, PLIDAM, INALCO",
        ("README.md", "CC-by-sa"),
        lambda files: [
            *by_pattern(r"96k/hsk/.*\.mp3", "cmn-yue-tan", "zh")(files),
            *by_pattern(r"64k/syllabs/.*\.mp3", "cmn-chen-wang", "zh")(files),
        ],
        minutes_per_speaker=45,
    ),
    Source(
        "arabic-commands",
        "words",
        Git("abdulkaderghandoura/arabic-speech-commands-dataset", "72f3438212ff6cf8fbe5ae8068361840646429bd"),
        "CC BY 4.0",
        "Ghandoura, Hjabo, Al Dakkak: Arabic Speech Commands Dataset",
        ("LICENSE", "Attribution 4.0 International"),
        by_pattern(r"dataset/[^/]+/(\d{8})_NO_\d+\.wav", r"arabic-\1", "ar"),
    ),
    Source(
        "wake-word",
        "sentences",
        Git("Picovoice/wake-word-benchmark", "84919190fb1891bf0936dcb577d9268e467f876f"),
        "Apache-2.0",
        "Picovoice wake word benchmark",
        ("LICENSE", "Apache License"),
        by_pattern(r"audio/[^/]+/[^/]+\.(?:wav|flac)", "wake-word-unlabelled", "en", unlabelled=50),
    ),
    Source(
        "speech-to-intent",
        "sentences",
        Git("Picovoice/speech-to-intent-benchmark", "47b1ca63afe4f08cb83e1f70fec16764879bd130"),
        "Apache-2.0",
        "Picovoice speech-to-intent benchmark",
        ("LICENSE", "Apache License"),
        by_pattern(r"data/speech/clean/[^/]+\.wav", "speech-to-intent-unlabelled", "en", unlabelled=50),
    ),
    Source(
        "kerstin",
        "sentences",
        Git("rhasspy/dataset-voice-kerstin", "f73127135cf80d6ef52aef6af58c49774f4fd625"),
        "CC0",
        "Kerstin, rhasspy voice dataset",
        ("LICENSE", "CC0 1.0 Universal"),
        by_pattern(r"verified/[^/]+\.flac", "kerstin", "de"),
    ),
    Source(
        "alphanumeric",
        "long",
        Git("Sakshee5/alphanumeric-audio-dataset", "6c9a38ed7e590a45410fdc33a548005a30f03552"),
        "MIT",
        "Sakshee Patil, alphanumeric audio dataset",
        ("LICENSE", "MIT License"),
        _alphanumeric,
    ),
    Source(
        "festvox-ru",
        "sentences",
        Debian("festvox-ru", "0.5+dfsg-6"),
        "BSD-like",
        "Nickolay V. Shmyrev",
        ("usr/share/doc/festvox-ru/copyright", "to use and distribute"),
        by_pattern(r".*/msu_ru_nsh_clunits/wav/[^/]+\.wav", "festvox-ru-nsh", "ru"),
    ),
    Source(
        "ljspeech",
        "sentences",
        Git("PhilippMatthes/dc_tts", "5f20e75b5c454b22f9f7dcaa2f7282bada93c1eb"),
        "public domain",
        "Linda Johnson, LJSpeech (LibriVox)",
        ("LJSpeech-1.1/README", "public domain speech dataset"),
        by_pattern(r"LJSpeech-1\.1/wavs/[^/]+\.wav", "ljspeech", "en"),
    ),
    Source(
        "precise",
        "words",
        Git("MycroftAI/Precise-Community-Data", "8a6760313b89846c4f41f86be340aa232636b92f"),
        "public domain (dedication per file)",
        "Mycroft community",
        ("licenses/license-20190801-el-tocino.txt", "public domain"),
        _precise,
    ),
    Source(
        "klettres",
        "words",
        Debian("klettres-data", "4:22.12.3-1"),
        "GPL-2+",
        "KDE KLettres",
        ("usr/share/doc/klettres-data/copyright", "License: GPL-2+"),
        _kde("klettres"),
    ),
    Source(
        "ktuberling",
        "words",
        Debian("ktuberling-data", "4:22.12.3-1"),
        "GPL-2+",
        "KDE KTuberling",
        ("usr/share/doc/ktuberling-data/copyright", "License: GPL-2+"),
        _kde("ktuberling"),
    ),
    Source(
        "gcin-voice",
        "words",
        Debian("gcin-voice", "0~20170223-3"),
        "per file",
        "gcin-voice",
        ("usr/share/doc/gcin-voice/copyright", "License: CC-BY-3"),
        _gcin,
    ),
    *(_asterisk(code) for code in _ASTERISK),
)
