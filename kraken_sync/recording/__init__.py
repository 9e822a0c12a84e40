"""Recordings: made from a live client, verified, and proven as an archive."""

from __future__ import annotations

from .archive import ArchiveReport, FileReport, verify_archive
from .export import export
from .health import Health, health, plot_health
from .recorder import Recorder
from .verify import Mismatch, Report, verify, verify_file

__all__ = [
    "ArchiveReport",
    "FileReport",
    "Health",
    "Mismatch",
    "Recorder",
    "Report",
    "export",
    "health",
    "plot_health",
    "verify",
    "verify_archive",
    "verify_file",
]
