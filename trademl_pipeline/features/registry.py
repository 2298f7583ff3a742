"""All declared features and the sets they form.

To add a feature, declare it in the tuple of its set's module: it is then computed, stored, documented and
audited. A name (a string) in a set's tuple stands for a feature that `common` or another set declares.
"""

from collections.abc import Iterable

import polars as pl

from trademl_pipeline.features import breakout, common, forecast, indicators, pattern
from trademl_pipeline.features.engine import carry_out, inputs, plan
from trademl_pipeline.features.feature import Feature, Series
from trademl_pipeline.features.operators import SPLIT
from trademl_pipeline.features.prepare import KEY, PANEL_COLUMNS, checked, prepare
from trademl_pipeline.features.references import REFERENCE_COLUMNS, ReferenceNames

_MODULES = {"forecast": forecast, "breakout": breakout, "pattern": pattern, "indicators": indicators}


def _declared() -> dict[str, Feature | Series]:
    declared: dict[str, Feature | Series] = {}
    lists: Iterable[Iterable[Feature | Series | str]] = (
        common.SERIES,
        common.FEATURES,
        *(m.SERIES for m in _MODULES.values()),
        *(m.FEATURES for m in _MODULES.values()),
    )
    for declaration in (d for part in lists for d in part):
        if isinstance(declaration, str):
            continue
        if declaration.name in declared or declaration.name in PANEL_COLUMNS:
            raise ValueError(f"{declaration.name} is declared twice, or is a column of the panel")
        declared[declaration.name] = declaration
    return declared


DECLARED: dict[str, Feature | Series] = _declared()
FEATURES: dict[str, Feature] = {n: d for n, d in DECLARED.items() if isinstance(d, Feature)}
FEATURE_SETS: dict[str, tuple[str, ...]] = {
    set_name: tuple(f if isinstance(f, str) else f.name for f in module.FEATURES)
    for set_name, module in _MODULES.items()
}
# Made once: an audit computes a set on thousands of small panels.
_PLANS = {name: plan(names, DECLARED, PANEL_COLUMNS) for name, names in FEATURE_SETS.items()}


def feature_names(name: str) -> tuple[str, ...]:
    """The features of a set, or the feature itself where `name` is one.

    Raises:
        KeyError: no set and no feature has the name.
    """
    if name in FEATURE_SETS:
        return FEATURE_SETS[name]
    if name in FEATURES:
        return (name,)
    raise KeyError(f"no feature set or feature is named {name!r}; sets: {', '.join(FEATURE_SETS)}")


def warmup(name: str) -> int:
    """Sessions before the first one wanted that must be given to `compute`, for a set or a feature."""
    return max(FEATURES[n].warmup for n in feature_names(name))


def feature_inputs(name: str) -> tuple[str, ...]:
    """Panel columns that a feature is made from, e.g. ("close", "volume"), sorted."""
    columns = {c.removeprefix("traded_") for c in inputs(name, DECLARED, PANEL_COLUMNS)}
    return tuple(sorted(columns - {SPLIT}))


def reference_inputs(name: str) -> tuple[str, ...]:
    """Columns of `references` that a set or a feature is made from, such as ("index_wealth",); () for none."""
    read = {c for n in feature_names(name) for c in feature_inputs(n)}
    return tuple(c for c in REFERENCE_COLUMNS if c in read)


def compute(
    bars: pl.DataFrame,
    name: str,
    *,
    reference: pl.DataFrame | None = None,
    universe: pl.DataFrame | None = None,
    names: ReferenceNames | None = None,
) -> pl.DataFrame:
    """A feature set (or one feature) of every row of the bars.

    The value of a row depends on rows of the same symbol up to its session only, and on reference rows up
    to it.

    Args:
        bars: any order; columns as in `prepare`.
        name: key of `FEATURE_SETS`, or of `FEATURES`.
        reference: bars of the index, the sector funds and the VIX, as in `references`.
        universe: symbol and the symbol of its sector's fund (`sector`), as in `references`.
        names: which symbols of the reference are the index and the VIX; None is SPY, ^VIX and ^VIX3M.

    Returns:
        symbol, session, then one Float64 column per feature, in the set's order; sorted by symbol and
        session, one row per row of the bars. Null: still warming up, not defined (say, a ratio to a volume
        of zero), or made of a reference that is not there. A row without four usable prices is null
        throughout and counts as a missing session. Windows count the symbol's own sessions: a gap is
        stepped over, not filled.

    Raises:
        KeyError: no such set.
        FeatureInputError: the bars cannot be used; the message says which column.
    """
    panel = prepare(bars, reference=reference, universe=universe, names=names)
    steps = _PLANS.get(name) or plan(feature_names(name), DECLARED, PANEL_COLUMNS)
    values = carry_out(steps, panel)
    if values.height == bars.height:
        return values
    return checked(bars).select(KEY).join(values, on=KEY, how="left", maintain_order="left")
