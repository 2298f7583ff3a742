"""From the options of a command to a data set."""

import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trademl_pipeline.cli.options import OURS_THEIRS, console, fail, pairs
from trademl_pipeline.market.bar_times import AROUND_THE_CLOCK
from trademl_pipeline.market.calendar import DEFAULT_CALENDAR
from trademl_pipeline.workspace import SIMULATED_START, SOURCES, VENDORS, DataSet, UsageError, month_key

ALL_SYMBOLS, CRYPTO = "ALL", "CRYPTO_8"
FEWEST_SYMBOLS = 3


def data_set(
    data: Path | None,
    symbols: str,
    columns: list[str] | None,
    home: Path | None,
    start: str,
    reference: Path | None = None,
    source: str = "",
    universe: str = "",
) -> DataSet:
    """The data set that the options of a command name.

    Raises:
        UsageError: options that do not go together, or name what there is not.
    """
    if source and source not in SOURCES:
        raise UsageError(f"there is no source {source!r}; use one of {', '.join(SOURCES)}")
    if source == "files" and data is None:
        raise UsageError("source files needs --data: a Parquet or CSV file or folder")
    if data is not None and source not in ("", "files"):
        raise UsageError(f"--data is for source files, not for {source}: leave one of the two out")
    if universe:
        symbols = _members(universe, symbols)
    mapping = pairs("--column", columns, OURS_THEIRS)
    if start:
        first = month_key(start)
    elif source in VENDORS:
        raise UsageError(f"say from when on to have bars of {source}: --start 2015-01")
    elif data is None:
        first = SIMULATED_START
    else:
        from trademl_pipeline.market import FileSource

        if not data.exists():
            raise UsageError(f"there is no file or folder {data}; --data takes Parquet or CSV bars")
        first = f"{FileSource(data, columns=mapping).span()[0]:%Y-%m}-01"
    return DataSet(
        data=data,
        symbols=symbols,
        columns=mapping,
        start=first,
        home=home,
        source=source if source in VENDORS else "",
        universe=universe,
        reference=reference,
    )


def _members(universe: str, symbols: str) -> str:
    """Everyone who ever belonged to a universe: what one fetches, and never what one trades."""
    from trademl_pipeline.market import MarketError
    from trademl_pipeline.market.universes import universe as members

    if symbols:
        raise UsageError("--universe and --symbols both say what to fetch: leave one of the two out")
    try:
        return ",".join(members(universe))
    except MarketError as error:
        raise UsageError(str(error)) from error


def with_references(chosen: DataSet, studies: Sequence[str]) -> DataSet:
    """The data set with index and sector funds and the VIX, as far as its vendor has them and a study reads any."""
    from trademl_pipeline.features.registry import reference_inputs
    from trademl_pipeline.market.symbols import REFERENCES_OF
    from trademl_pipeline.studies import STUDIES

    offered = REFERENCES_OF.get(chosen.source, ())
    told = chosen.reference or os.environ.get("TRADEML_REFERENCE")
    if not offered or told or chosen.calendar() != DEFAULT_CALENDAR:
        return chosen
    read = any(reference_inputs(STUDIES[name].feature_set) for name in studies)
    return replace(chosen, beside=offered) if read else chosen


def environment_of(*options: Any) -> dict[str, str]:
    """The environment of a data set for all studies; takes the options of `data_set` and its errors to the shell."""
    from trademl_pipeline.studies import STUDIES

    try:
        return with_references(data_set(*options), list(STUDIES)).environment()
    except (UsageError, ValueError) as error:
        raise fail(str(error)) from error


def usual_universe(of_study: str, calendar: str) -> str:
    """A study's universe, empty for all symbols; a study of chosen stocks has the chosen pairs on crypto."""
    if of_study == ALL_SYMBOLS:
        return ""
    return CRYPTO if calendar == AROUND_THE_CLOCK else of_study


def universe_symbols(data: Path, columns: list[str] | None, name: str) -> str:
    """The data's symbols that belong to a universe, comma-separated; empty where all of them do.

    Raises:
        UsageError: there is no such universe, or too few of its symbols are in the data.
    """
    if name == ALL_SYMBOLS or not data.exists():
        return ""
    from trademl_pipeline.market import FileSource, MarketError
    from trademl_pipeline.market.universes import universe

    has = set(FileSource(data, columns=pairs("--column", columns, OURS_THEIRS)).symbols())
    try:
        found = [symbol for symbol in universe(name, known=sorted(has)) if symbol in has]
    except MarketError as error:
        raise UsageError(str(error)) from error
    if len(found) < FEWEST_SYMBOLS:
        raise UsageError(
            f"{data} has {len(found)} symbols of the universe {name}; name others with --symbols or --universe "
            "(--universe ALL takes every symbol)"
        )
    console.print(f"Universe {name}: {len(found)} of its symbols are in {data.name}", highlight=False)
    return ",".join(found)


def last_month(chosen: DataSet) -> str:
    """The last month there are bars of: of the file, of the simulated market, or this month."""
    from trademl_pipeline.market import FileSource
    from trademl_pipeline.simulation import SimulatedMarket

    if chosen.source in VENDORS:
        return f"{datetime.now(UTC):%Y-%m}-01"
    held = FileSource(chosen.data, columns=chosen.columns) if chosen.data else SimulatedMarket()
    return f"{held.span()[1]:%Y-%m}-01"


def made(chosen: DataSet) -> Path:
    """The state folder of a data set that has been run.

    Raises:
        UsageError: it has not.
    """
    folder = chosen.folder()
    if not (folder / "lake").exists():
        raise UsageError(f"{folder} holds nothing yet: run the study on this data set first (trademl run)")
    return folder


def require_study(name: str, studies: Collection[str], *others: str) -> None:
    """Raise UsageError where there is no such study; `others` may be named instead."""
    if name not in studies:
        raise UsageError(f"there is no study {name!r}; studies: {', '.join([*others, *sorted(studies)])}")
