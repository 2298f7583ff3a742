"""The result of making a certified month again: one line for each thing compared, and a verdict."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from trademl_pipeline.certificates.certificate import Certificate, Content
from trademl_pipeline.certificates.code_version import CodeVersion

Outcome = Literal["same", "close", "differs", "note"]
HOLDS, DIFFERS, IMPOSSIBLE = 0, 1, 2

# Predictions made with another number of threads may differ by the order of additions.
CLOSE = 1e-6
KEY = ("symbol", "session")
COLOURS: dict[Outcome, str] = {"same": "green", "close": "green", "differs": "red", "note": "yellow"}


@dataclass(frozen=True)
class Comparison:
    """One thing that was compared.

    Attributes:
        what: was compared.
        outcome: "same": to the last bit; "close": within `CLOSE`; "differs"; "note": worth knowing, and no failure.
        finding: with what result.
    """

    what: str
    outcome: Outcome
    finding: str


@dataclass(frozen=True)
class Verification:
    """A month made again.

    Attributes:
        certificate: that was verified.
        mode: "rebuilt" with models fitted again, or "predicted again" with the stored ones.
        comparisons: in the order in which they were made.
    """

    certificate: Certificate
    mode: str
    comparisons: tuple[Comparison, ...]

    @property
    def holds(self) -> bool:
        """Return whether nothing differs."""
        return not any(c.outcome == "differs" for c in self.comparisons)

    @property
    def exit_code(self) -> int:
        """0 if it holds, 1 if not."""
        return HOLDS if self.holds else DIFFERS

    def headline(self) -> str:
        """The verdict in one line."""
        differing = [c.what for c in self.comparisons if c.outcome == "differs"]
        if differing:
            return f"DIFFERS  {', '.join(differing)}"
        close = any(c.outcome == "close" for c in self.comparisons)
        return f"HOLDS  {self.mode}, {'the same within rounding' if close else 'the same to the last bit'}"

    def to_plain(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "study": self.certificate.study,
            "month": self.certificate.month,
            "certificate": self.certificate.digest,
            "holds": self.holds,
            "mode": self.mode,
            "comparisons": [vars(c) for c in self.comparisons],
        }

    def render(self) -> RenderableType:
        """As something that rich can print."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for c in self.comparisons:
            table.add_row(c.what, f"[{COLOURS[c.outcome]}]{c.outcome}[/]", Text(c.finding))
        colour = "green" if self.holds else "red"
        title = f"{self.certificate.study}, {self.certificate.month[:7]}"
        head = Text(self.headline(), style=f"bold {colour}")
        return Panel(
            Group(head, Text(), table), title=title, title_align="left", border_style=colour, expand=False
        )


def compare_digest(what: str, recorded: str, computed: str) -> Comparison:
    """Two digests of what must be equal."""
    if recorded == computed:
        return Comparison(what, "same", f"{computed[:16]}…")
    return Comparison(what, "differs", f"the certificate says {recorded[:16]}…, found {computed[:16]}…")


def compare_contents(
    what: str, recorded: Mapping[str, Content], computed: Mapping[str, Content]
) -> Comparison:
    """The months of some tables."""
    differing = [table for table in recorded if computed.get(table) != recorded[table]]
    if differing:
        changes = "; ".join(
            f"{t}: was {recorded[t].digest[:12]}…, is {_digest(computed.get(t))}" for t in differing
        )
        return Comparison(what, "differs", changes)
    return Comparison(what, "same", ", ".join(f"{t} ({c.months} months)" for t, c in recorded.items()))


def compare_code(recorded: CodeVersion, running: CodeVersion) -> Comparison:
    """The code that made the month, and the code that runs now. Another version is no failure, but explains one."""
    moved = {
        name: (recorded.libraries.get(name), running.libraries.get(name))
        for name in sorted({*recorded.libraries, *running.libraries})
        if recorded.libraries.get(name) != running.libraries.get(name)
    }
    if recorded.source == running.source and not moved:
        return Comparison("code", "same", running.label)
    remarks = (
        [] if recorded.source == running.source else [f"made by {recorded.label}; running {running.label}"]
    )
    remarks += [
        f"{name} was {before or 'absent'}, is {now or 'absent'}" for name, (before, now) in moved.items()
    ]
    return Comparison("code", "note", "; ".join(remarks))


def compare_values(published: pl.DataFrame, again: pl.DataFrame) -> Comparison:
    """Predictions as published and as made again: rows, then every numeric column."""
    what = "predictions"
    ours, theirs = (frame.sort(KEY) for frame in (published, again))
    if not ours.select(KEY).equals(theirs.select(KEY)):
        lost = ours.join(theirs, on=KEY, how="anti").height
        added = theirs.join(ours, on=KEY, how="anti").height
        return Comparison(what, "differs", f"{lost} published rows are not made again, {added} rows are new")
    if ours.equals(theirs.select(ours.columns)):
        return Comparison(what, "same", f"{ours.height:,} rows, every value")
    worst, moved = 0.0, []
    for name, dtype in ours.schema.items():
        a, b = ours[name], theirs[name].cast(dtype)
        if not dtype.is_float():
            moved += [] if a.equals(b) else [f"{name} differs in {int((a != b).fill_null(True).sum())} rows"]
            continue
        x, y = (s.fill_null(float("nan")).to_numpy() for s in (a, b))
        far = ~((np.abs(x - y) <= CLOSE * np.maximum(1.0, np.abs(x))) | (np.isnan(x) & np.isnan(y)))
        worst = max(worst, float(np.nanmax(np.abs(x - y), initial=0.0)))
        if far.any():
            at = int(np.argmax(far))
            moved.append(
                f"{name} differs in {int(far.sum()):,} rows, first {ours['symbol'][at]} {ours['session'][at]}: "
                f"{x[at]:.6g} published, {y[at]:.6g} made again"
            )
    if moved:
        return Comparison(what, "differs", "; ".join(moved))
    return Comparison(what, "close", f"{ours.height:,} rows, by at most {worst:.2g}")


def _digest(content: Content | None) -> str:
    return "missing" if content is None else f"{content.digest[:12]}…"
