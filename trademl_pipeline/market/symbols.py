"""The built-in lists of symbols: who is in them, since when each trades, and its sector fund.

The lists are chosen today, so they know who became large: a backtest over them carries that knowledge (see
docs/universes-and-quality.md). First days say since when a name trades; a name without one traded before the
calendars of this project begin.
"""

from datetime import date


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


TEST = ("AAPL", "GOOGL", "MSFT")
MAG7 = ("AAPL", "MSFT", "GOOG", "NVDA", "TSLA", "AMZN", "META")
CRYPTO_8 = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "ADAUSDT", "XRPUSDT", "SOLUSDT", "DOGEUSDT", "LTCUSDT")
TIER_1 = _names(
    "AAPL MSFT NVDA AVGO ORCL CRM ADBE CSCO AMD INTC QCOM TXN IBM GOOGL META NFLX DIS CMCSA VZ T AMZN TSLA HD MCD "
    "NKE WMT PG KO PEP COST PM JPM BAC WFC GS V MA BRK-B UNH JNJ LLY PFE MRK ABBV XOM CVX CAT BA GE HON"
)
# The training universe of the pattern confidence design: the seven, technology, and three funds.
PATTERN_34 = MAG7 + _names(
    "CRM ADBE NOW ORCL NFLX AMD INTC CSCO AVGO TXN QCOM MU AMAT LRCX KLAC MRVL SNPS CDNS FTNT PANW INTU UBER ZM "
    "DDOG QQQ XLK SPY"
)

SECTOR_FUNDS = {
    "XLB": "Materials",
    "XLC": "Communication Services",
    "XLE": "Energy",
    "XLF": "Financials",
    "XLI": "Industrials",
    "XLK": "Technology",
    "XLP": "Consumer Staples",
    "XLRE": "Real Estate",
    "XLU": "Utilities",
    "XLV": "Health Care",
    "XLY": "Consumer Discretionary",
}
# The synthetic index that is built from the bars themselves.
INDEX_SYMBOL = "^INDEX"
MARKET_FUNDS = ("SPY", "QQQ", "IWM")
VOLATILITY_INDICES = ("^VIX", "^VIX3M", "^VIX9D", "^VVIX")
REFERENCES = (*MARKET_FUNDS, *SECTOR_FUNDS, *VOLATILITY_INDICES[:2])
# Which of them a vendor has; Alpaca has no indices, Binance no stocks.
REFERENCES_OF = {"yahoo": REFERENCES, "alpaca": (*MARKET_FUNDS, *SECTOR_FUNDS)}

_FUND_MEMBERS = {
    "XLK": "AAPL MSFT NVDA AVGO ORCL CRM ADBE CSCO AMD INTC QCOM TXN IBM NOW MU AMAT LRCX KLAC MRVL SNPS CDNS FTNT "
    "PANW INTU ZM DDOG",
    "XLC": "GOOG GOOGL META FB NFLX DIS CMCSA VZ T",
    "XLY": "AMZN TSLA HD MCD NKE",
    "XLP": "WMT PG KO PEP COST PM",
    "XLF": "JPM BAC WFC GS V MA BRK-B",
    "XLV": "UNH JNJ LLY PFE MRK ABBV",
    "XLE": "XOM CVX",
    "XLI": "CAT BA GE HON UBER",
}
SECTOR_OF = {symbol: fund for fund, names in _FUND_MEMBERS.items() for symbol in names.split()}

# The GICS revisions that moved names of the lists: Communication Services was formed at the open of 2018-09-24,
# payment processors became Financials on 2023-03-20. By symbol: the fund before, and the first day of the new one.
_COMMUNICATION, _PAYMENT = date(2018, 9, 24), date(2023, 3, 20)
MOVED: dict[str, tuple[str, date]] = {
    **dict.fromkeys(("GOOG", "GOOGL", "META", "FB", "VZ", "T"), ("XLK", _COMMUNICATION)),
    **dict.fromkeys(("NFLX", "DIS", "CMCSA"), ("XLY", _COMMUNICATION)),
    **dict.fromkeys(("V", "MA"), ("XLK", _PAYMENT)),
}

FIRST_TRADED: dict[str, date] = {
    "CSCO": date(1990, 2, 16),
    "QCOM": date(1991, 12, 13),
    "SNPS": date(1992, 2, 26),
    "SPY": date(1993, 1, 29),
    "INTU": date(1993, 3, 12),
    "BRK-B": date(1996, 5, 9),
    "AMZN": date(1997, 5, 15),
    "XLK": date(1998, 12, 22),
    "NVDA": date(1999, 1, 22),
    "QQQ": date(1999, 3, 10),
    "GS": date(1999, 5, 4),
    "MRVL": date(2000, 6, 27),
    "NFLX": date(2002, 5, 23),
    "CRM": date(2004, 6, 23),
    "GOOG": date(2004, 8, 19),
    "GOOGL": date(2004, 8, 19),
    "MA": date(2006, 5, 25),
    "PM": date(2008, 3, 17),
    "V": date(2008, 3, 19),
    "AVGO": date(2009, 8, 6),
    "FTNT": date(2009, 11, 18),
    "TSLA": date(2010, 6, 29),
    "META": date(2012, 5, 18),
    "NOW": date(2012, 6, 29),
    "PANW": date(2012, 7, 20),
    "ABBV": date(2013, 1, 2),
    "ZM": date(2019, 4, 18),
    "UBER": date(2019, 5, 10),
    "DDOG": date(2019, 9, 19),
    "BTCUSDT": date(2017, 8, 17),
    "ETHUSDT": date(2017, 8, 17),
    "BNBUSDT": date(2017, 11, 6),
    "LTCUSDT": date(2017, 12, 13),
    "ADAUSDT": date(2018, 4, 17),
    "XRPUSDT": date(2018, 5, 4),
    "DOGEUSDT": date(2019, 7, 5),
    "SOLUSDT": date(2020, 8, 11),
}
