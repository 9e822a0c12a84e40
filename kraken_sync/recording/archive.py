"""Verifies whole archives: the files against their manifests, and every checksum in them."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

import msgspec

from ..core.wire.record_lines import UNREADABLE, own
from .files import CHUNK, LineReader, PathLike
from .manifest import entries_of, is_recording, stem_of, unreadable_lines
from .verify import Decimals, Report, Verifier, lines_in


class _Beginning(msgspec.Struct):
    """The note at the beginning of a file."""

    continues: Optional[str] = None


@dataclass
class FileReport:
    """What was found in one file of an archive."""

    file: str
    listed: bool
    """Whether its manifest has it; the file of a recorder that is running, or was killed, is not listed."""
    faults: List[str] = field(default_factory=list)
    """What contradicts the manifest, or the checksums."""
    report: Report = field(default_factory=Report)

    def as_dict(self) -> Dict[str, Any]:
        """Return the report as a dict that can be encoded as JSON."""
        return {
            "file": self.file,
            "listed": self.listed,
            "faults": self.faults,
            **{name: value for name, value in self.report.as_dict().items() if name != "gaps"},
            "gaps": len(self.report.gaps),
        }


@dataclass
class ArchiveReport:
    """What was found in an archive."""

    files: List[FileReport] = field(default_factory=list)
    faults: List[str] = field(default_factory=list)
    """What is wrong with the manifests themselves."""

    @property
    def proven(self) -> bool:
        """Whether nothing contradicts the manifests or the checksums, and there is at least one verified book
        message.
        """
        faults = self.faults or any(one.faults for one in self.files)
        return not faults and any(one.report.verified for one in self.files)

    @property
    def unlisted(self) -> List[str]:
        """The files that no manifest lists: nothing shows whether they were changed since."""
        return [one.file for one in self.files if not one.listed]

    def as_dict(self) -> Dict[str, Any]:
        """Return the report as a dict that can be encoded as JSON."""
        return {
            "proven": self.proven,
            "unlisted": self.unlisted,
            "faults": self.faults,
            "files": [one.as_dict() for one in self.files],
        }


def verify_archive(
    directory: PathLike,
    decimals: Optional[Decimals] = None,
    progress: Callable[[Path], None] = lambda path: None,
) -> ArchiveReport:
    """Check every recording in a directory, and return a report.

    Each file that a manifest lists is compared with its entry: the SHA-256 and the counts. The entries of a
    manifest are a chain of hashes, so that none can be changed or left out unnoticed. If a name was used
    again after its file was moved away, its newest entry counts. Every book message is checked as by
    :func:`verify`; a book goes on from one numbered file to the one that continues it. Files that no manifest
    lists, such as that of a recorder which was killed, are checked as well, and the report says that they are
    not listed.

    Args:
        directory: where the files are.
        decimals: see :func:`verify`.
        progress: called with each file before it is read.

    Raises:
        OSError: something cannot be read.
    """
    root = Path(directory)
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is no directory")
    archive = ArchiveReport()
    listed: Set[str] = set()
    for manifest in sorted(root.glob("*.manifest.jsonl")):
        verifier = Verifier(decimals or {})
        order: List[Tuple[Path, Optional[Dict[str, Any]]]] = [
            (root / name, entry) for name, entry in _entries(manifest, archive).items()
        ]
        listed.update(path.name for path, _ in order)
        # What a recorder was writing when it ended without a word comes after the file that it continues.
        stem = manifest.name[: -len(".manifest.jsonl")]
        for path in _others(root, listed, stem):
            listed.add(path.name)
            names, before = [one.name for one, _ in order], _continued(path)
            order.insert(names.index(before) + 1 if before in names else len(names), (path, None))
        for path, entry in order:
            progress(path)
            archive.files.append(_check_file(path, entry, verifier))
    for path in _others(root, listed):
        progress(path)
        archive.files.append(_check_file(path, None, Verifier(decimals or {})))
    if not archive.files:
        archive.faults.append(f"{root} has no recordings (*.jsonl, *.jsonl.gz, *.jsonl.zst)")
    return archive


def _entries(manifest: Path, archive: ArchiveReport) -> Dict[str, Dict[str, Any]]:
    """Return the newest entry of each file, by its name."""
    found: Dict[str, Dict[str, Any]] = {}
    previous = ""
    if unreadable_lines(manifest):
        archive.faults.append(f"{manifest.name}: there are lines that cannot be read")
    for number, line in enumerate(entries_of(manifest), 1):
        entry = json.loads(line)
        if entry.get("previous") != previous:
            archive.faults.append(f"{manifest.name}: entry {number} does not follow the one before it")
        previous = hashlib.sha256(line).hexdigest()
        name = str(entry.get("file"))
        found.pop(name, None)  # it is judged where its newest entry stands
        found[name] = entry
    return found


def _others(root: Path, listed: Set[str], stem: str = "") -> List[Path]:
    paths = [path for path in sorted(root.iterdir()) if is_recording(path) and path.name not in listed]
    return [path for path in paths if not stem or _belongs(stem_of(path), stem)]


def _belongs(name: str, stem: str) -> bool:
    """Whether a file is one of a recording called ``stem``: ``day`` and ``day-2026-11-29-000001``."""
    rest = name[len(stem) :]
    return name.startswith(stem) and (not rest or bool(re.fullmatch(r"-\d{4}-\d\d-\d\d-\d{6,}", rest)))


def _continued(path: Path) -> Optional[str]:
    """Return the name of the file that a recording says it continues, if any."""
    found = own(next(iter(LineReader(path)), b""))
    try:
        return msgspec.json.decode(found.frame, type=_Beginning).continues if found is not None else None
    except UNREADABLE:
        return None


def _check_file(path: Path, entry: Optional[Dict[str, Any]], verifier: Verifier) -> FileReport:
    found = FileReport(path.name, entry is not None)
    report = found.report = verifier.report = Report()
    if not path.exists():
        found.faults.append("it is missing")
        return found
    if entry is not None:
        _compare(found, "SHA-256", entry.get("sha256"), _sha256(path))
    reader = LineReader(path)
    verifier.judge(lines_in(reader))
    report.cut = reader.cut
    verifier.previous = "" if reader.cut else path.name
    if entry is not None:
        if reader.cut:
            found.faults.append(reader.cut)
        _compare(found, "number of messages", entry.get("received"), report.messages)
        _compare(found, "number of gaps", entry.get("gap_count"), len(report.gaps))
    if report.mismatched:
        found.faults.append(f"{report.mismatched} checksums do not match")
    return found


def _compare(found: FileReport, what: str, listed: Any, counted: Any) -> None:
    if listed != counted:
        found.faults.append(f"its {what} is {counted}, and the manifest says {listed}")


def _sha256(path: Path) -> str:
    made = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(CHUNK), b""):
            made.update(chunk)
    return made.hexdigest()
