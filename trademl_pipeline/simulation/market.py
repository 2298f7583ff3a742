"""A simulated market to develop, demonstrate and test on, and the best score that anyone could get on it.

The signal is planted on purpose, and far stronger than anything real markets offer: the oracle calls the
direction of the next five sessions right 57 times in 100, with a daily rank IC of 0.22; the planted signal
alone would bring 56 in 100 and 0.18, the rest is moves after consolidations that have already begun. That
is what lets a few folds tell whether a pipeline recovers a signal; no figure got here says anything about
real trading.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import cached_property

import numpy as np
import polars as pl

from trademl_pipeline.market.calendar import DEFAULT_CALENDAR, calendar_frame, on_or_after, session_index
from trademl_pipeline.market.errors import EmptyMonthError, UnknownSymbolError
from trademl_pipeline.market.schema import BAR_DTYPES, SOURCE_COLUMNS
from trademl_pipeline.simulation import scoring
from trademl_pipeline.simulation.oracle import Forecast, forecast, imagine
from trademl_pipeline.simulation.paths import (
    SECTORS,
    MarketSpec,
    Paths,
    Symbols,
    draw_paths,
    draw_symbols,
    generator,
)
from trademl_pipeline.simulation.price_generator import Prices, generate_prices, write_index
from trademl_pipeline.simulation.references import SECTOR_FUND, write_references
from trademl_pipeline.simulation.regimes import CLASSES, find_planted_events
from trademl_pipeline.simulation.simulated_paths import SimulatedPaths, draw_simulated_paths
from trademl_pipeline.tables.bar_tables import DAILY

INDEX_SYMBOL = "SIMX"
EPOCH, LAST = date(2010, 1, 4), date(2025, 12, 31)


class SimulatedMarket:
    """A market made from a seed; a `BarSource`.

    The same arguments give the same bars, whichever month, symbol or order is asked for. A market that ends
    later begins with the same bars, and one with more symbols has the same first ones. The history is
    simulated once, at the first question (a second or two), and kept.

    Args:
        seed: seed of everything.
        n_symbols: number of symbols, SIM000 on. Some are listed late, some are delisted.
        calendar: exchange calendar of the sessions.
        epoch: first day of the history.
        end: last day of the history.
        strength: correlation, in [0, 1), of the planted signal with the own part of the next session's
            return.
        delay: time after the close at which a bar becomes known. The default, none, is right for decisions
            that are taken at the close and filled at the next open.
        spec: everything else about the market; `strength` overrides its strength.
        class_frequencies: share of each breakout class K0..K5 among the planted patterns; overrides the
            spec's.
    """

    name = "simulated"

    timeframe = DAILY
    remote = False
    revisions = "latest"

    def __init__(
        self,
        seed: int = 7,
        n_symbols: int = 60,
        calendar: str = DEFAULT_CALENDAR,
        epoch: date = EPOCH,
        end: date = LAST,
        strength: float | None = None,
        delay: timedelta = timedelta(0),
        spec: MarketSpec | None = None,
        class_frequencies: Mapping[str, float] | None = None,
    ) -> None:
        if n_symbols < 1:
            raise ValueError(f"a market has at least one symbol, not {n_symbols}")
        if end < epoch:
            raise ValueError(f"the market would end on {end}, before it begins on {epoch}")
        if delay < timedelta(0):
            raise ValueError(f"nothing is known before the close: delay is {delay}")
        spec = spec or MarketSpec()
        if strength is not None:
            spec = replace(spec, strength=strength)
        if class_frequencies is not None:
            spec = replace(spec, frequencies=dict(class_frequencies))
        spec.chain()
        self.seed, self.n_symbols, self.calendar, self.delay = seed, n_symbols, calendar, delay
        self.spec = spec
        self._sessions = calendar_frame(epoch, end, calendar)
        self._first = session_index(on_or_after(epoch, calendar), calendar)
        width = max(3, len(str(n_symbols - 1)))
        self._names = [f"SIM{i:0{width}d}" for i in range(n_symbols)]
        self._forecasts: dict[int, Forecast] = {}

    def symbols(self) -> list[str]:
        """Every symbol that is ever listed, delisted ones included."""
        return [self._names[i] for i in np.flatnonzero(self._listed.any(axis=0))]

    def selection(self) -> list[str] | None:
        """None: a fetch of all is the whole market."""
        return None

    def span(self) -> tuple[date, date]:
        """First and last session of the history."""
        return self._sessions["session"][0], self._sessions["session"][-1]

    def fetch(self, symbols: Sequence[str] | None, start: date, end: date) -> pl.DataFrame:
        """Bars of the symbols (None: all) in [start, end], in the columns of `schema.SOURCE_COLUMNS`.

        Raises:
            UnknownSymbolError: a symbol is not of this market.
            EmptyMonthError: nothing is listed in the range.
        """
        bars = self.bars.filter(pl.col("session").is_between(start, end))
        if symbols is not None:
            unknown = sorted(set(symbols) - set(self.symbols()))
            if unknown:
                raise UnknownSymbolError(self.name, unknown, self.symbols())
            bars = bars.filter(pl.col("symbol").is_in(list(symbols)))
        if bars.is_empty():
            note = "" if symbols is None else f", {len(symbols)} symbols asked for"
            raise EmptyMonthError(self.name, start, end, self.span(), note)
        return bars

    @cached_property
    def bars(self) -> pl.DataFrame:
        """The whole history, sorted by (symbol, session)."""
        prices = self._prices
        columns = {name: getattr(prices, name) for name in BAR_DTYPES if hasattr(prices, name)}
        return self._long(columns).with_columns(adjusted=pl.lit(False)).pipe(self._stamped)

    def index_bars(self) -> pl.DataFrame:
        """The market's index as bars of the symbol SIMX, 1000 at the start.

        Weighted by capital at the previous close, dividends reinvested. Members are the symbols listed on
        both sessions, so a delisted one stays in until its last session.
        """
        columns = write_index(self.spec, self._symbols, self._paths, self._prices, self._listed)
        frame = pl.DataFrame({"session": self._sessions["session"], **columns}).with_columns(
            symbol=pl.lit(INDEX_SYMBOL),
            split_factor=pl.lit(1.0),
            dividend=pl.lit(0.0),
            adjusted=pl.lit(False),
        )
        return self._stamped(frame)

    def reference_bars(self) -> pl.DataFrame:
        """Return bars to compare the market's symbols with, in the columns of `schema.SOURCE_COLUMNS`.

        SPY and a fund for each sector, made of the factors that move the symbols, and ^VIX and ^VIX3M, the
        volatility that the index factor's state foretells; see `simulation.references`. Null volume: an index.
        """
        frames = [
            pl.DataFrame({"session": self._sessions["session"], **columns}).with_columns(
                pl.col("volume").fill_nan(None),
                symbol=pl.lit(symbol),
                split_factor=pl.lit(1.0),
                dividend=pl.lit(0.0),
                adjusted=pl.lit(False),
            )
            for symbol, columns in write_references(self.spec, self._paths).items()
        ]
        return self._stamped(pl.concat(frames)).sort("symbol", "session")

    def sectors(self) -> pl.DataFrame:
        """symbol, sector: which sector moves each symbol."""
        sector = [SECTORS[i] for i in self._symbols.sector]
        return pl.DataFrame({"symbol": self._names, "sector": sector}).filter(
            pl.col("symbol").is_in(self.symbols())
        )

    def sector_funds(self) -> pl.DataFrame:
        """symbol, sector: the fund among `reference_bars` that stands for each symbol's sector."""
        return self.sectors().with_columns(pl.col("sector").replace_strict(SECTOR_FUND))

    def listings(self) -> pl.DataFrame:
        """symbol, sector, listed, delisted: first and last session; delisted is null while it trades on."""
        sessions, listed = self._sessions["session"].to_numpy(), self._listed
        ends = listed.shape[0] - 1 - listed[::-1].argmax(axis=0)
        frame = pl.DataFrame(
            {
                "symbol": self._names,
                "listed": pl.Series(sessions[listed.argmax(axis=0)]).cast(pl.Date),
                "delisted": pl.Series(sessions[ends]).cast(pl.Date),
                "trades_on": listed[-1],
            }
        )
        last = pl.when(~pl.col("trades_on")).then("delisted").alias("delisted")
        frame = frame.with_columns(last).drop("trades_on")
        return self.sectors().join(frame, on="symbol", maintain_order="left")

    def planted_events(self) -> pl.DataFrame:
        """The planted consolidations that a listed symbol completed.

        Returns:
            symbol, start and end (first and last session of the consolidation), breakout (first session of
            the move), `class` ("K0".."K5"), upper and lower (highest high and lowest low of the
            consolidation, in the price of its last session, so comparable with later quotes up to the next
            split). The class is the one aimed at; noise can make the outcome of a pattern another one.
        """
        prices, day = self._prices, self._sessions["session"].to_list()
        owned = np.cumprod(prices.split_factor, axis=0)
        high, low = prices.high * owned, prices.low * owned
        rows = [
            (
                self._names[p.symbol],
                day[p.start],
                day[p.breakout - 1],
                day[p.breakout],
                CLASSES[p.label],
                high[p.start : p.breakout, p.symbol].max() / owned[p.breakout - 1, p.symbol],
                low[p.start : p.breakout, p.symbol].min() / owned[p.breakout - 1, p.symbol],
            )
            for p in find_planted_events(self.spec.chain(), self._paths.state, self._listed)
        ]
        schema = {
            "symbol": pl.String,
            "start": pl.Date,
            "end": pl.Date,
            "breakout": pl.Date,
            "class": pl.String,
            "upper": pl.Float64,
            "lower": pl.Float64,
        }
        return pl.DataFrame(rows, schema=schema, orient="row").sort("symbol", "start")

    def signal(self) -> pl.DataFrame:
        """symbol, session, signal: the planted signal z as seen at the session's close."""
        return self._long({"signal": self._paths.signal})

    def oracle(self, horizon: int = 5) -> pl.DataFrame:
        """Return what the best forecaster would say at each close (see `simulation.oracle` for what it knows).

        Args:
            horizon: sessions ahead; the return is the log total return over (session, session + horizon].

        Returns:
            symbol, session, expected_return, signal_return (the part of it due to the planted signal) and
            p_up, for every bar, the last ones and those before a delisting included.
        """
        view = self._forecast(horizon)
        columns = {"expected_return": view.mean, "signal_return": view.signal_mean, "p_up": view.p_up}
        return self._long(columns)

    def simulated_paths(self, keys: pl.DataFrame, horizon: int, draws: int) -> SimulatedPaths:
        """Simulated paths of bars, drawn from what the oracle knows at their closes (see `simulation.simulated_paths`).

        Args:
            keys: symbol and session of bars.
            horizon: sessions ahead.
            draws: simulated paths of each key; those of a key follow each other.

        Raises:
            UnknownSymbolError: a symbol is not of this market.
        """
        unknown = sorted(set(keys["symbol"]) - set(self._names))
        if unknown:
            raise UnknownSymbolError(self.name, unknown, self.symbols())
        symbol = keys["symbol"].replace_strict(self._names, range(self.n_symbols), return_dtype=pl.Int64)
        session = self._sessions["session"].search_sorted(keys["session"])
        t, i = (np.repeat(x.to_numpy(), draws) for x in (session, symbol))
        rng = generator(self.seed, 2**43 + horizon)
        return draw_simulated_paths(self.spec, self._symbols, self._paths, t, i, horizon, rng)

    def realized(self, horizon: int = 5) -> pl.DataFrame:
        """symbol, session, forward_return: log total return over (session, session + horizon].

        Only keys whose symbol trades through all of it.
        """
        return self._long({"forward_return": self._forward(horizon)}).drop_nans()

    def best_scores(self, horizon: int = 5, keys: pl.DataFrame | None = None) -> dict[str, float]:
        """The oracle's scores, which no causal forecaster beats but by luck.

        Args:
            horizon: sessions ahead.
            keys: frame with symbol and session to score on; None is every bar that has a forward return.
                Keys without a forward return do not count.

        Returns:
            n (keys scored), days, directional_accuracy (share of calls, the sign of p_up − ½, that came
            true) and expected_directional_accuracy (mean of max(p_up, 1 − p_up)), rank_ic (mean over days
            of the rank correlation of expected_return with the realized return) and expected_rank_ic (the
            same with returns drawn anew from the oracle's own distribution), signal_directional_accuracy
            and signal_rank_ic (the planted signal alone), always_up and majority (baselines).

        Raises:
            ValueError: none of the keys has a forward return.
        """
        view = self._forecast(horizon)
        table = self._long(
            {
                "expected_return": view.mean,
                "signal_return": view.signal_mean,
                "p_up": view.p_up,
                "forward_return": self._forward(horizon),
                "imagined_return": self._imagined(horizon),
            }
        ).drop_nans("forward_return")
        if keys is not None:
            table = table.join(
                keys.select("symbol", "session").unique(), on=["symbol", "session"], how="semi"
            )
        if table.is_empty():
            raise ValueError(f"no key has a return over the next {horizon} sessions: nothing to score")
        return scoring.best_scores(table)

    @cached_property
    def _symbols(self) -> Symbols:
        return draw_symbols(self.spec, self.seed, self.n_symbols)

    @cached_property
    def _paths(self) -> Paths:
        return draw_paths(self.spec, self.seed, self._symbols, self._first, self._sessions.height)

    @cached_property
    def _prices(self) -> Prices:
        return generate_prices(self.spec, self._symbols, self._paths)

    @cached_property
    def _listed(self) -> np.ndarray:
        t = np.arange(self._sessions.height)[:, None]
        return (t >= self._symbols.listed) & (t <= self._symbols.delisted)

    def _forecast(self, horizon: int) -> Forecast:
        if horizon not in self._forecasts:
            self._forecasts[horizon] = forecast(self.spec, self._symbols, self._paths, horizon)
        return self._forecasts[horizon]

    def _imagined(self, horizon: int) -> np.ndarray:
        rng = generator(self.seed, 2**41 + horizon)
        return imagine(self.spec, self._symbols, self._paths, horizon, rng)

    def _forward(self, horizon: int) -> np.ndarray:
        """Log total return over the next sessions; NaN unless the symbol trades through all of them."""
        total = np.vstack([np.zeros((1, self.n_symbols)), np.cumsum(self._paths.returns, axis=0)])
        forward = np.full_like(self._paths.returns, np.nan)
        if horizon < len(forward):
            forward[:-horizon] = total[1 + horizon :] - total[1:-horizon]
            forward[:-horizon][~self._listed[horizon:]] = np.nan
        return forward

    def _long(self, columns: Mapping[str, np.ndarray]) -> pl.DataFrame:
        """Arrays of shape (session, symbol) as a panel of the listed bars, sorted by (symbol, session)."""
        listed = self._listed.T
        i, t = np.nonzero(listed)
        return pl.DataFrame(
            {
                "symbol": pl.Series(self._names).gather(i),
                "session": self._sessions["session"].gather(t),
                **{name: values.T[listed] for name, values in columns.items()},
            }
        )

    def _stamped(self, frame: pl.DataFrame) -> pl.DataFrame:
        return (
            frame.join(
                self._sessions.select("session", event_time="close_utc"), on="session", maintain_order="left"
            )
            .with_columns(
                knowledge_time=(pl.col("event_time") + self.delay).cast(BAR_DTYPES["knowledge_time"]),
                source=pl.lit(f"{self.name}:{self.seed}"),
            )
            .select(SOURCE_COLUMNS)
        )
