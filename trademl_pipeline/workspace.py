"""Where a data set's state lies, and the environment that the Dagster processes read it from.

One folder per data set and selection of symbols keeps a user's bars from ever mixing with the simulated market
or with another file's: a lake, a Dagster instance, an MLflow store, models and reports.
"""

import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SIMULATED_START = "2013-01-01"
VENDORS = ("alpaca", "binance", "yahoo")
SOURCES = ("simulated", "files", *VENDORS)
# In the state folder: a lake of one calendar is no lake of another.
CALENDAR_FILE = "calendar"
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
    """Bars and the folder of everything made from them.

    Attributes:
        data: Parquet or CSV file or folder; None is the simulated market, or a vendor.
        source: a vendor's name, such as "yahoo"; empty is what `data` says.
        universe: name of the universe that `symbols` were taken from, for the name of a vendor's folder, and for whom
            one may decide on when; a path is made absolute.
        symbols: comma-separated names or a number; empty is all, which no vendor can give.
        columns: our column names to the file's.
        start: first month, `YYYY-MM-01`.
        home: state folder; None derives it from the data's name and the selection.
        beside: symbols that a vendor is asked for too and that are not decided on, such as SPY and the VIX.
        reference: Parquet or CSV of index and sector funds and the VIX; None is what TRADEML_REFERENCE says, or the
            simulator's own, or the funds among the bars.
    """

    data: Path | None = None
    symbols: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    start: str = SIMULATED_START
    home: Path | None = None
    reference: Path | None = None
    source: str = ""
    universe: str = ""
    beside: tuple[str, ...] = ()

    def calendar(self) -> str:
        """The exchange calendar of the bars: as the state folder keeps it, TRADEML_CALENDAR says, or the bars tell.

        Crypto trades around the clock ("24/7"): Binance's pairs, Alpaca's with a slash, a universe of them, and a file
        whose days go on over weekends. All else is on XNYS.

        Raises:
            UsageError: the variable says another calendar than the one the state was made on.
        """
        said, kept = os.environ.get("TRADEML_CALENDAR", ""), self.folder() / CALENDAR_FILE
        if not kept.exists():
            return said or self._told()
        held = kept.read_text().strip()
        if said not in ("", held):
            raise UsageError(
                f"{self.folder()} was made on the calendar {held}, but TRADEML_CALENDAR is {said}: give another --home"
            )
        return held

    def _told(self) -> str:
        from trademl_pipeline.market import FileSource
        from trademl_pipeline.market.bar_times import AROUND_THE_CLOCK
        from trademl_pipeline.market.calendar import DEFAULT_CALENDAR
        from trademl_pipeline.market.universes import universe_calendar

        if self.data is not None:
            always = FileSource(self.data, columns=self.columns).around_the_clock()
        else:
            pairs = self.source == "alpaca" and "/" in self.symbols
            always = pairs or self.source == "binance" or universe_calendar(self.universe) == AROUND_THE_CLOCK
        return AROUND_THE_CLOCK if always else DEFAULT_CALENDAR

    def folder(self) -> Path:
        """The state folder, absolute."""
        if self.home is not None:
            return self.home.resolve()
        if self.source in VENDORS and self.universe:
            return ROOT / "data" / f"{self.source}-{self.universe}"
        name = self.data.resolve().stem if self.data else self.source or "simulated"
        chosen = json.dumps([self.symbols, self.columns, str(self.data.resolve()) if self.data else ""])
        if self.reference is not None:
            chosen += str(self.reference.resolve())
        plain = self.data is None and not self.symbols and self.reference is None
        suffix = "" if plain else "-" + hashlib.sha256(chosen.encode()).hexdigest()[:8]
        return ROOT / "data" / f"{name}{suffix}"

    def _universe(self) -> str:
        if not self.universe and self.beside:
            return f"{self.symbols},"
        return str(Path(self.universe).resolve()) if Path(self.universe).is_file() else self.universe

    def environment(self) -> dict[str, str]:
        """The variables that Dagster's processes need, on top of the caller's own.

        Raises:
            UsageError: when the path of the data or the reference does not exist, or a vendor is not told what to
                fetch.
        """
        if self.data is not None and not self.data.exists():
            raise UsageError(f"there is no file or folder {self.data}; --data takes Parquet or CSV bars")
        if self.reference is not None and not self.reference.exists():
            raise UsageError(
                f"there is no file or folder {self.reference}; --reference takes Parquet or CSV bars of SPY, sector "
                "funds, ^VIX and ^VIX3M"
            )
        folder, calendar = self.folder(), self.calendar()
        if self.source in VENDORS and not self.symbols:
            raise UsageError(
                f"source {self.source} needs to know what to fetch: --universe TIER_1, or --symbols AAPL,MSFT"
            )
        for part in ("dagster", "lake", "mlflow", "reports"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / CALENDAR_FILE).write_text(f"{calendar}\n")
        return {
            **os.environ,
            "DAGSTER_HOME": str(ROOT),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            # Threads that spin while they wait for one another starve whatever else runs on the machine.
            "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
            "TRADEML_HOME": str(folder),
            "TRADEML_DAGSTER_STORAGE": str(folder / "dagster"),
            "TRADEML_SOURCE": self.source or ("files" if self.data else "simulated"),
            "TRADEML_DATA": str(self.data.resolve()) if self.data else "",
            "TRADEML_COLUMNS": json.dumps(self.columns),
            "TRADEML_SYMBOLS": ",".join(dict.fromkeys([*self.symbols.split(","), *self.beside])),
            "TRADEML_START": self.start,
            "TRADEML_CALENDAR": calendar,
            **({"TRADEML_REFERENCE": str(self.reference.resolve())} if self.reference else {}),
            **({"TRADEML_UNIVERSE": self._universe()} if self._universe() else {}),
            "TRADEML_YAHOO_CACHE": os.environ.get("TRADEML_YAHOO_CACHE", str(folder / "yfinance")),
        }
