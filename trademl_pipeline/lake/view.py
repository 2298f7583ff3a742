"""A lake as a step may read it: cut at the step's clock, with every read written down.

A step is given a view, and while it runs no other way into the lake is open (`lake.seal`). The view returns only rows
that were known by its clock, only of tables and months that its step declares, as of one snapshot.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import polars as pl

from trademl_pipeline.lake.frames import data_version
from trademl_pipeline.lake.reading import Months, table_name
from trademl_pipeline.lake.schema import MONTH, TableSchema
from trademl_pipeline.lake.seal import SealedLakeError, permitted, require_open, sealed
from trademl_pipeline.lake.sealed_files import sealed_files
from trademl_pipeline.lake.store import Lake

KNOWN, SESSION = "knowledge_time", "session"
FIRST = "0000-00-00"


class UndeclaredReadError(SealedLakeError):
    """A step reads a table or a month that its asset does not declare."""


class LakeReader(Protocol):
    """The reading half of a lake: the lake itself, or a view of it."""

    def read(
        self,
        table: TableSchema | str,
        *,
        months: Months = None,
        columns: Sequence[str] | None = None,
        symbols: Sequence[str] | None = None,
        snapshot: int | None = None,
        with_month: bool = False,
    ) -> pl.DataFrame:
        """Read a table, sorted by its key, as `Lake.read` does.

        Args:
            table: schema or name.
            months: a range as a tuple (first, last), any other sequence as a set of month keys; None: all.
            columns: only these; None: all.
            symbols: only rows of these; None: all.
            snapshot: the table as it was at that snapshot; None: as it is.
            with_month: add the partition's `month`.
        """
        ...

    def months(self, table: TableSchema | str, *, snapshot: int | None = None) -> list[str]:
        """Month keys that have rows, ascending."""
        ...

    def snapshot(self) -> int:
        """Id of the snapshot that is read where none is named."""
        ...


@dataclass(frozen=True)
class StepRead:
    """One read of a step, whichever snapshot held it.

    Attributes:
        table: that was read.
        first, last: month keys asked for.
        rows: that were known by the step's clock, and so returned.
        knowledge_last: the latest moment at which one of them became known (UTC); None where rows have no clock.
        content: content hash of these rows.
    """

    table: str
    first: str
    last: str
    rows: int
    knowledge_last: datetime | None
    content: str


@dataclass(frozen=True)
class ReadRecord(StepRead):
    """One read of a step, and the snapshot of the lake that it read.

    Attributes:
        snapshot: of the lake.
    """

    snapshot: int

    def anywhere(self) -> StepRead:
        """Return the read alone."""
        return StepRead(**{f.name: getattr(self, f.name) for f in fields(StepRead)})


class LakeView:
    """A lake as one step may see it. Reads as `Lake` does; writes nothing.

    Args:
        lake: to read.
        step: whose view it is, such as "predictions_direction 2014-02", for messages.
        declared: table -> first and last month that the step may read, both inclusive; `FIRST` for "from the first".
        clock: rows that became known later are not there (UTC); of tables without a clock, later sessions. None: no
            row is held back beyond the months that are declared.
        snapshot: to read at; None: the current one.
    """

    def __init__(
        self,
        lake: Lake,
        step: str,
        declared: Mapping[str, tuple[str, str]],
        *,
        clock: datetime | None = None,
        snapshot: int | None = None,
    ) -> None:
        # A step has the view that it is given; one that it made itself would declare what it liked.
        require_open()
        self.step, self.declared, self.clock = step, MappingProxyType(dict(declared)), clock
        self._lake = lake
        self._snapshot = lake.snapshot() if snapshot is None else snapshot
        self._records: list[ReadRecord] = []
        self._frames: dict[Any, pl.DataFrame] = {}

    def at(self, clock: datetime) -> "LakeView":
        """Return the same view cut at an earlier clock; it keeps a record of its own."""
        earlier = clock if self.clock is None else min(clock, self.clock)
        view = LakeView(self._lake, self.step, self.declared, clock=earlier, snapshot=self._snapshot)
        # What was read for a later clock holds what an earlier one may see.
        view._frames = self._frames
        return view

    @contextmanager
    def sealed(self, allowed: Sequence[str | Path] = (), *, network: bool = False) -> Generator[None]:
        """Run a step: the lake can be read by views alone, and no file of data be opened.

        Args:
            allowed: files, and folders whose files the step may read all the same, but for those of the lake.
            network: whether it may connect and start programs.
        """
        config = self._lake.config
        files = [config.location] if config.kind == "sqlite" else []
        never = files if config.on_object_storage else [*files, config.data_path]
        with sealed(self.step), sealed_files(self.step, allowed, never, network=network):
            yield

    @property
    def reads(self) -> tuple[ReadRecord, ...]:
        """Everything that was read so far, in order, each once."""
        return tuple(dict.fromkeys(self._records))

    def snapshot(self) -> int:
        """The snapshot that the view is pinned to."""
        return self._snapshot

    def months(self, table: TableSchema | str, *, snapshot: int | None = None) -> list[str]:
        """Month keys that have rows, up to the last that the step may read. Raises as `read` does."""
        name = table_name(table)
        _, last = self._range(name)
        with permitted():
            months = self._lake.months(table, snapshot=self._pinned(name, snapshot))
        return [month for month in months if month <= last]

    def read(
        self,
        table: TableSchema | str,
        *,
        months: Months = None,
        columns: Sequence[str] | None = None,
        symbols: Sequence[str] | None = None,
        snapshot: int | None = None,
        with_month: bool = False,
    ) -> pl.DataFrame:
        """Read a table as `Lake.read` does, without what the step may not know.

        Args:
            table, months, columns, symbols, snapshot, with_month: as `LakeReader.read` takes them; months have to be
                among those that the step declares, and a snapshot may not lie behind the view's.

        Raises:
            UndeclaredReadError: the step does not declare the table, or not all of these months.
            MissingTableError, MissingColumnError, MissingSnapshotError: as `Lake.read`.
        """
        name = table_name(table)
        span, pinned = self._declared_months(name, months), self._pinned(name, snapshot)
        # Rows are cut by a column that may not be among those asked for.
        needed = columns if self.clock is None else None
        # A range and a set of two months are read differently.
        as_set = None if span is None or isinstance(span, tuple) else frozenset(span)
        key = (
            name,
            span if as_set is None else as_set,
            tuple(needed or ()),
            tuple(symbols or ()),
            pinned,
            with_month,
        )
        if key not in self._frames:
            with permitted():
                self._frames[key] = self._lake.read(
                    table,
                    months=span,
                    columns=needed,
                    symbols=symbols,
                    snapshot=pinned,
                    with_month=with_month,
                )
        frame = self._cut(self._frames[key])
        self._record(table, span, pinned, frame)
        if columns is not None:
            frame = frame.select([*columns, *([MONTH] if with_month and MONTH not in columns else [])])
        return frame

    def _cut(self, frame: pl.DataFrame) -> pl.DataFrame:
        if self.clock is None:
            return frame
        if KNOWN in frame.columns:
            return frame.filter(pl.col(KNOWN) <= self.clock)
        if SESSION in frame.columns:
            return frame.filter(pl.col(SESSION) <= self.clock.date())
        return frame

    def _range(self, name: str) -> tuple[str, str]:
        if name not in self.declared:
            raise UndeclaredReadError(
                f"{self.step} reads {name}, which it does not declare; it declares {', '.join(self.declared)}"
            )
        return self.declared[name]

    def _declared_months(self, name: str, months: Months) -> Months:
        first, last = self._range(name)
        if months is None:
            return (max(first, "1900-01-01"), last)
        keys = (months[0], months[1]) if isinstance(months, tuple) else tuple(sorted(months))
        if keys and not (first <= keys[0] and keys[-1] <= last):
            limits = f"up to {last[:7]}" if first == FIRST else f"from {first[:7]} to {last[:7]}"
            raise UndeclaredReadError(
                f"{self.step} reads {name} from {keys[0][:7]} to {keys[-1][:7]}, and declares it {limits}"
            )
        return keys if isinstance(months, tuple) else list(months)

    def _pinned(self, name: str, snapshot: int | None) -> int:
        if snapshot is not None and snapshot > self._snapshot:
            raise UndeclaredReadError(
                f"{self.step} reads {name} at snapshot {snapshot}, and its view is pinned to {self._snapshot}"
            )
        return self._snapshot if snapshot is None else snapshot

    def _record(self, table: TableSchema | str, span: Months, snapshot: int, frame: pl.DataFrame) -> None:
        known = frame[KNOWN].max() if KNOWN in frame.columns else None
        key = () if isinstance(table, str) or not set(table.key) <= set(frame.columns) else table.key
        bare = TableSchema(table_name(table), {**frame.schema}, key)
        first, last = (span[0], span[-1]) if span else ("", "")
        self._records.append(
            ReadRecord(
                table_name(table),
                first,
                last,
                frame.height,
                known.astimezone(UTC) if isinstance(known, datetime) else None,
                data_version(bare, frame),
                snapshot,
            )
        )
