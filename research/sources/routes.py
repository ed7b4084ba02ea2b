"""Where files come from: a git repository at a pinned commit, or a Debian package.

Each route lists paths and reads bytes. A repository is read from a local git directory below --mirror if there is
one that contains the commit, otherwise it is fetched from its public address into the cache.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


class SourceError(Exception):
    """A source cannot be obtained or used; the message names the reason."""


@dataclass(frozen=True)
class Places:
    """Folders that the routes read and write."""

    cache: Path
    mirror: Path | None = None


@dataclass(frozen=True)
class Git:
    """A public repository, `owner/name`, at a commit."""

    repository: str
    commit: str
    url: str = ""
    """Address to fetch from; GitHub if empty"""

    @property
    def label(self) -> str:
        return f"{self.url or 'GitHub ' + self.repository} at {self.commit[:12]}"

    def open(self, places: Places) -> GitFiles:
        """Return the files. Raises SourceError if the commit cannot be obtained."""
        for folder in self._candidates(places):
            if folder.is_dir() and _has_commit(folder, self.commit):
                return GitFiles(folder, self.commit)
        folder = places.cache / "git" / self.repository.replace("/", "+")
        _run(["git", "init", "--quiet", "--bare", str(folder)])
        url = self.url or f"https://github.com/{self.repository}.git"
        _run(["git", "-C", str(folder), "fetch", "--quiet", "--depth", "1", url, self.commit])
        return GitFiles(folder, self.commit)

    def _candidates(self, places: Places) -> list[Path]:
        owner, name = self.repository.split("/")
        found = [places.cache / "git" / f"{owner}+{name}"]
        if places.mirror is not None:
            for base in (f"{owner}+{name}/repo", f"{owner}+{name}", f"{owner}/{name}", name, f"{name}.git"):
                found += [places.mirror / base, places.mirror / base / ".git"]
        return found


@dataclass(frozen=True)
class Debian:
    """A package of the Debian archive that this machine is configured for."""

    package: str
    version: str
    """That was converted first; another version is used too, and named in the index."""

    @property
    def label(self) -> str:
        return f"Debian {self.package} {self.version}"

    def open(self, places: Places) -> FolderFiles:
        """Download and unpack the package. Raises SourceError if apt cannot."""
        folder = places.cache / "debian"
        folder.mkdir(parents=True, exist_ok=True)
        root = folder / self.package
        if not (root / "usr").is_dir():
            if not list(folder.glob(f"{self.package}_*.deb")):
                _run(["apt-get", "download", "--quiet", self.package], cwd=folder)
            _run(["dpkg-deb", "-x", str(sorted(folder.glob(f"{self.package}_*.deb"))[-1]), str(root)])
        return FolderFiles(root)


Route = Git | Debian


class GitFiles:
    """Files of one commit, read without a work tree."""

    def __init__(self, folder: Path, commit: str) -> None:
        self.folder, self.commit = folder, commit
        listed = _run(["git", "-C", str(folder), "ls-tree", "-r", "-z", commit])
        self._blobs: dict[str, str] = {}
        for entry in listed.decode(errors="surrogateescape").split("\0"):
            if entry:
                facts, path = entry.split("\t", 1)
                self._blobs[path] = facts.split()[2]

    def paths(self) -> list[str]:
        """Return all paths, in order."""
        return sorted(self._blobs)

    def read(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
        """Yield (path, content) in the order given; None where the git directory lacks the content."""
        command = ["git", "-C", str(self.folder), "cat-file", "--batch"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None and process.stdout is not None
            for path in paths:
                process.stdin.write(self._blobs[path].encode() + b"\n")
                process.stdin.flush()
                head = process.stdout.readline().split()
                if len(head) != 3:
                    yield path, None
                    continue
                content = process.stdout.read(int(head[2]))
                process.stdout.read(1)
                yield path, content
            process.stdin.close()


class FolderFiles:
    """Files below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def paths(self) -> list[str]:
        """Return all paths below the folder, in order; links are left out."""
        files = (path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink())
        return sorted(path.relative_to(self.root).as_posix() for path in files)

    def read(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
        """Yield (path, content) in the order given."""
        for path in paths:
            yield path, (self.root / path).read_bytes()


Files = GitFiles | FolderFiles


def read_one(files: Files, path: str) -> bytes:
    """Return the content of one file. Raises SourceError if it is missing."""
    if path not in files.paths():
        raise SourceError(f"the source has no file {path}")
    content = next(iter(files.read([path])))[1]
    if content is None:
        raise SourceError(f"the content of {path} is missing from the git directory")
    return content


def members(archive: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the regular files of a tar archive."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.isfile() else None
            if stream is not None:
                yield member.name, stream.read()


def _has_commit(folder: Path, commit: str) -> bool:
    command = ["git", "-C", str(folder), "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(command, capture_output=True).returncode == 0


def _run(command: list[str], cwd: Path | None = None) -> bytes:
    try:
        done = subprocess.run(command, capture_output=True, cwd=cwd)
    except OSError as error:
        raise SourceError(f"{command[0]} cannot be started: {error}") from error
    if done.returncode:
        message = done.stderr.decode(errors="replace").strip().splitlines()
        raise SourceError(f"`{' '.join(command)}` failed: {message[-1] if message else done.returncode}")
    return done.stdout
