"""From the words of a command to a data set: the folder, the `trademl.yaml` in it, and the settings in force.

A data set is a folder with a `trademl.yaml`. The words that say what the bars are (`--data`, `--source`, `--symbols`,
`--column`, `--universe`, `--reference`, `--home`) name its folder, the same one for every command; what else holds for
it stands in the file. One folder per data set and selection keeps a user's bars from ever mixing with the simulated
market or with another file's: a lake, a Dagster instance, an MLflow store, models and reports.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trademl_pipeline import settings as stated
from trademl_pipeline.settings import DEFAULT_CALENDAR, FILE, ROOT, SOURCES, VENDORS, Settings, files

# Where folders lie that no `--home` names.
DATA_FOLDER = ROOT / "data"
SIMULATED_START = "2013-01-01"
# Where nothing says when a vendor's or a file's history begins.
EARLIEST = "2007-01-01"
ALL_SYMBOLS, CRYPTO = "ALL", "CRYPTO_8"
AROUND_THE_CLOCK = "24/7"
# Kept by earlier versions in place of the file.
OLD_CALENDAR_FILE = "calendar"
MONTH = re.compile(r"^(\d{4})-(0[1-9]|1[0-2])$")


class UsageError(ValueError):
    """Something the user typed cannot work; the message says what to type instead."""


def month_key(text: str) -> str:
    """`2016-01` to the partition key `2016-01-01`.

    Raises:
        UsageError: when the text is not a month.
    """
    if not MONTH.match(text):
        raise UsageError(f"{text!r} is not a month; write it as YYYY-MM, e.g. 2016-01")
    return f"{text}-01"


def month_range(text: str) -> tuple[str, str]:
    """`2016-01:2018-12`, or one month, to its first and last partition key.

    Raises:
        UsageError: when the text is not a range of months, or runs backwards.
    """
    first, _, last = text.partition(":")
    keys = month_key(first), month_key(last or first)
    if keys[0] > keys[1]:
        raise UsageError(f"{text!r} runs backwards: write the earlier month first")
    return keys


@dataclass(frozen=True)
class DataSet:
    """The words that name a data set.

    Attributes:
        data: Parquet or CSV file or folder; None is the simulated market, or a vendor.
        source: one of `SOURCES`; empty is what `data` says.
        universe: whom one may decide on, and whose bars are read; a name, symbols with commas, or a file.
        symbols: comma-separated names or a number; empty is the universe's, or all, which no vendor can give.
        columns: our column names to the file's.
        start: first month, `YYYY-MM-01`; empty: as the file says, or the data's own. No part of the identity.
        home: state folder; None derives it from the other words.
        reference: Parquet or CSV of index and sector funds and the VIX.
    """

    data: Path | None = None
    symbols: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    start: str = ""
    home: Path | None = None
    reference: Path | None = None
    source: str = ""
    universe: str = ""

    def __post_init__(self) -> None:
        if self.source and self.source not in SOURCES:
            raise UsageError(f"there is no source {self.source!r}; use one of {', '.join(SOURCES)}")
        if self.source == "files" and self.data is None:
            raise UsageError("source files needs --data: a Parquet or CSV file or folder")
        if self.data is not None and self.source not in ("", "files"):
            raise UsageError(f"--data is for source files, not for {self.source}: leave one of the two out")
        if self.universe and self.symbols:
            raise UsageError("--universe and --symbols both say what to fetch: leave one of the two out")
        if self.home is not None and self.home.exists() and not self.home.is_dir():
            raise UsageError(f"--home {self.home} is a file; name a folder")

    def folder(self) -> Path:
        """The data set's folder, absolute: `--home`, TRADEML_HOME, or derived from the other words."""
        if self.home is not None:
            return self.home.resolve()
        exported = stated.named_home()
        if exported is not None:
            return exported
        universe = self._universe()
        if self.source in VENDORS and universe:
            named = (
                Path(universe).stem if Path(universe).is_absolute() else universe.replace("/", "-").strip(",")
            )
            chosen = (
                ""
                if named == universe and not self.reference
                else f"-{_digest([universe, self._reference()])}"
            )
            return DATA_FOLDER / f"{self.source}-{named[:40]}{chosen}"
        name = self.data.resolve().stem if self.data else self.source or "simulated"
        words = [self.symbols, dict(self.columns), str(self.data.resolve()) if self.data else ""]
        chosen = json.dumps(words) + self._reference() + universe
        plain = self.data is None and not any((self.symbols, self.columns, self.reference, universe))
        suffix = "" if plain else f"-{hashlib.sha256(chosen.encode()).hexdigest()[:8]}"
        return DATA_FOLDER / f"{name}{suffix}"

    def _reference(self) -> str:
        return str(self.reference.resolve()) if self.reference else ""

    def _universe(self) -> str:
        return str(Path(self.universe).resolve()) if Path(self.universe).is_file() else self.universe

    def words(self) -> dict[str, Any]:
        """Return what the words say, by key of the settings; what they do not say is left out."""
        words = {
            "data.source": self.source or ("files" if self.data else ""),
            "data.path": str(self.data.resolve()) if self.data else "",
            "data.columns": dict(self.columns),
            "data.symbols": self.symbols,
            "universe.name": self._universe(),
            "references.path": self._reference(),
        }
        return {key: value for key, value in words.items() if value}

    def made(self) -> bool:
        """True where the folder holds a data set."""
        return (self.folder() / FILE).exists()

    def settings(self, overrides: Mapping[str, Any] | None = None) -> Settings:
        """The settings of a data set that has been made.

        Args:
            overrides: what further flags say, by key.

        Raises:
            UsageError: it has not been made.
            SettingsError: a setting cannot be understood, or the words contradict the folder.
        """
        if not self.made():
            raise UsageError(self._missing())
        start = {"data.start": self.start} if self.start else {}
        return stated.load(self.folder(), {**self.words(), **start, **(overrides or {})})

    def _missing(self) -> str:
        folder, words = self.folder(), self._typed()
        if (folder / OLD_CALENDAR_FILE).exists():
            return (
                f"{folder} was made by an earlier version and has no {FILE}, which says what its bars are: name them "
                f"once, as when it was made: trademl run{words}"
            )
        return (
            f"{folder} holds nothing yet, there is no {FILE} in it: run a study on this data set first: "
            f"trademl run{words}"
        )

    def _typed(self) -> str:
        given = [
            ("--source", self.source),
            ("--data", self.data),
            ("--symbols", self.symbols),
            ("--universe", self.universe),
            *(("--column", f"{ours}={theirs}") for ours, theirs in self.columns.items()),
            ("--reference", self.reference),
            ("--home", self.home),
        ]
        return "".join(f" {name} {value}" for name, value in given if value)

    def planned(self, overrides: Mapping[str, Any] | None = None, *, universe: str = "") -> Settings:
        """The settings of a data set, or those that it would have were it made now; nothing is written.

        Args:
            overrides: what further flags say, by key.
            universe: whom one may decide on in a new data set of files whose words name neither symbols nor a universe.

        Raises:
            UsageError: the path of the data or the reference does not exist, or a vendor is not told what to fetch or
                from when on.
            SettingsError: a setting cannot be understood, or the words contradict the folder.
        """
        if self.data is not None and not self.data.exists():
            raise UsageError(f"there is no file or folder {self.data}; --data takes Parquet or CSV bars")
        if self.reference is not None and not self.reference.exists():
            raise UsageError(
                f"there is no file or folder {self.reference}; --reference takes Parquet or CSV bars of SPY, sector "
                "funds, ^VIX and ^VIX3M"
            )
        if self.made():
            return self.settings(overrides)
        return stated.load(
            self.folder(), {**self.words(), **(overrides or {})}, planned=self._new(universe, overrides)
        )

    def make(self, overrides: Mapping[str, Any] | None = None, *, universe: str = "") -> Settings:
        """The settings of a data set, which is made where there is none yet: the folder with its `trademl.yaml`.

        Args, Raises: see `planned`.
        """
        folder, planned = self.folder(), self.planned(overrides, universe=universe)
        if not self.made():
            files.write(folder / FILE, self._new(universe, overrides))
            planned = self.settings(overrides)
        elif self.start and self.start < stated.load(folder).data.start:
            files.edit(folder / FILE, "data.start", self.start)
        for part in (planned.dagster_home, *(folder / name for name in ("lake", "mlflow", "reports"))):
            part.mkdir(parents=True, exist_ok=True)
        write_instance(planned.dagster_home)
        return planned

    def _new(self, universe: str, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The values of the `trademl.yaml` of a new data set, by key."""
        # Variables count for what the words leave open, and all are checked before anything is written.
        settings = stated.load(self.folder(), {**self.words(), **(overrides or {})})
        source, symbols = settings.data.source, settings.data.symbols
        if source in VENDORS and not symbols and settings.universe.name in ("", ALL_SYMBOLS):
            raise UsageError(
                f"source {source} needs to know what to fetch: --universe TIER_1, or --symbols AAPL,MSFT"
            )
        if source == "files" and not settings.data.path:
            raise UsageError("source files needs --data: a Parquet or CSV file or folder")
        _require_universe(settings)
        start = self.start or settings.data.start
        if source in VENDORS and not start:
            raise UsageError(f"say from when on to have bars of {source}: --start 2015-01")
        if not start:
            start = SIMULATED_START if source == "simulated" else f"{span_of(settings)[0]:%Y-%m}-01"
        calendar = settings.data.calendar or self._recorded_calendar() or calendar_of_bars(settings)
        of_study = universe if source == "files" and not symbols and universe != ALL_SYMBOLS else ""
        beside = references_beside(settings, calendar)
        decided_on = settings.universe.name or (
            CRYPTO if of_study and calendar == AROUND_THE_CLOCK else of_study
        )
        if beside and symbols and not decided_on:
            # Funds are compared with; those that were asked for by name are decided on.
            decided_on = f"{symbols},"
        return {
            **{
                key: settings.value(key)
                for key in ("data.source", "data.path", "data.columns", "data.symbols")
            },
            "data.calendar": calendar,
            "data.start": start,
            "data.end": last_month(settings) if source == "files" else "",
            "universe.name": decided_on,
            "universe.membership": settings.universe.membership,
            "references.path": settings.references.path,
            "references.symbols": ",".join(beside),
        }

    def _recorded_calendar(self) -> str:
        file = self.folder() / OLD_CALENDAR_FILE
        return file.read_text().strip() if file.exists() else ""

    def environment(self, overrides: Mapping[str, Any] | None = None) -> dict[str, str]:
        """The environment of processes that work on this data set, which is made where there is none yet.

        Raises:
            UsageError, SettingsError: see `make`.
        """
        return stated.environment(self.make(overrides))


def _digest(words: Any) -> str:
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:8]


def calendar_of_bars(settings: Settings) -> str:
    """The calendar that the bars tell.

    Crypto trades around the clock ("24/7"): Binance's pairs, Alpaca's with a slash, a universe of them, and a file
    whose days go on over weekends. All else is on XNYS.
    """
    from trademl_pipeline.market import FileSource
    from trademl_pipeline.market.universes import universe_calendar

    source = settings.data.source
    if source == "files":
        always = FileSource(settings.data.path, columns=settings.data.columns).around_the_clock()
    else:
        pairs = source == "alpaca" and "/" in settings.data.symbols
        always = pairs or source == "binance" or universe_calendar(settings.universe.name) == AROUND_THE_CLOCK
    return AROUND_THE_CLOCK if always else DEFAULT_CALENDAR


def _require_universe(settings: Settings) -> None:
    """Raise UsageError where there is no such universe."""
    from trademl_pipeline.market import MarketError
    from trademl_pipeline.market.universes import universe

    if settings.universe.name in ("", ALL_SYMBOLS):
        return
    try:
        universe(settings.universe.name, membership=settings.universe.membership or None, known=())
    except MarketError as error:
        raise UsageError(str(error)) from error


def references_beside(settings: Settings, calendar: str) -> tuple[str, ...]:
    """Index and sector funds and the VIX, as far as a vendor has them and no file of them was named."""
    from trademl_pipeline.market.symbols import REFERENCES_OF

    if settings.references.path or calendar != DEFAULT_CALENDAR:
        return ()
    return REFERENCES_OF.get(settings.data.source, ())


def span_of(settings: Settings) -> tuple[Any, Any]:
    """First and last day that a file or the simulated market has bars of."""
    from trademl_pipeline.market import FileSource

    if settings.data.source == "files":
        return FileSource(settings.data.path, columns=settings.data.columns).span()
    from trademl_pipeline.simulation.market import EPOCH, LAST

    return EPOCH, LAST


def recorded_span(settings: Settings) -> tuple[str, str]:
    """First and last month with data, as the settings say; the last is empty for a source that goes on."""
    data = settings.data
    if data.source != "simulated":
        return data.start or EARLIEST, data.end if data.source == "files" else ""
    first, last = span_of(settings)
    return data.start or f"{first:%Y-%m}-01", data.end or f"{last:%Y-%m}-01"


def last_month(settings: Settings) -> str:
    """The last month there are bars of: of the file, of the simulated market, or this month."""
    if settings.data.source in VENDORS:
        return f"{datetime.now(UTC):%Y-%m}-01"
    return f"{span_of(settings)[1]:%Y-%m}-01"


def move_end(settings: Settings, last: str) -> None:
    """Put the last month with bars into the `trademl.yaml`, where it lies behind what stands there."""
    recorded = stated.load(settings.home).data.end
    if last > recorded and settings.data.source not in VENDORS:
        files.edit(settings.home / FILE, "data.end", last)


def write_instance(folder: Path) -> None:
    """Configure the Dagster instance in a folder as the repository's `dagster.yaml` says, where it has no own file."""
    import yaml

    if (folder / "dagster.yaml").exists():
        return
    config = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    # Those lie in the instance's folder by default; the repository's file puts the demo's there.
    for part in ("storage", "local_artifact_storage", "compute_logs"):
        config.pop(part, None)
    text = "# The Dagster instance of this data set, as the repository's dagster.yaml was when it was made.\n"
    files.put(folder / "dagster.yaml", text + yaml.safe_dump(config, sort_keys=False), replace=False)
