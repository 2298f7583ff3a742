"""Writing reports: each file whole or not at all."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ReportPaths:
    """Paths of a written report."""

    html: Path
    markdown: Path
    summary: Path


def write_report(folder: Path | str, html: str, markdown: str, summary: str) -> ReportPaths:
    """Write `report.html`, `report.md` and `summary.json` into a folder.

    Each is written beside its place and renamed into it, so a reader never meets half a file.

    Args:
        folder: made where it is missing.
        html: the page.
        markdown: the document.
        summary: JSON text; written last, since who reads it takes the other two to be there.

    Raises:
        OSError: the folder cannot be made or written to.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    return ReportPaths(
        html=_write(target / "report.html", html),
        markdown=_write(target / "report.md", markdown),
        # Last, since what reads the summary takes the other two to be there.
        summary=_write(target / "summary.json", summary),
    )


def _write(path: Path, text: str) -> Path:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path
