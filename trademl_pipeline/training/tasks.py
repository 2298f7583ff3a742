"""What a study asks of its models: which labels they learn, what they predict, and the score that ranks it.

A task stands between tables and models. It turns label columns into the targets of a network or of trees, turns a
model's outputs into one row of numbers a decision (so that members of an ensemble can be averaged), and that row into
the columns that are published. Importing this module does not import torch.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import polars as pl

from trademl_pipeline.evaluation.groups import apart, numbered
from trademl_pipeline.labels.breakout import STRATEGIC_VALUES
from trademl_pipeline.labels.validation import FEATURE_OF
from trademl_pipeline.sequences.windows import Windows

if TYPE_CHECKING:
    from torch import nn

Outputs = Mapping[str, np.ndarray]
_VOLATILITY_FLOOR = 1e-6


class Task(Protocol):
    """The five tasks below; a new study may bring its own.

    Attributes:
        name: key in `TASKS`.
        kind: `class` where members predict class probabilities, `value` elsewhere.
        columns: what a member predicts, in order; its predictions are (rows, len(columns)).
        labels: label columns that training rows must have.
        published: name -> Polars type of the columns of the predictions table, `score` last.
        described: what each of them is, with its unit, as the UI shows it.
        context: features of the decision's own session that `publish` reads.

    A task of values that trees, the linear baseline or a weighted ensemble serve also has `truth(keys)`, what came by
    column, (rows, columns), NaN where there is no label, and `regressed(targets)`, the same of what is learned. Where
    they apply, it has `logs` (columns above 0, regressed as logarithms), `chances` (columns that are probabilities) and
    `exclusive` (groups of chances that sum to 1).
    """

    name: str
    kind: Literal["class", "value"]
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    published: Mapping[str, Any]
    described: Mapping[str, str]
    context: tuple[str, ...]

    def targets(self, keys: pl.DataFrame) -> dict[str, np.ndarray]:
        """Targets by the names that the task's loss takes, aligned with `keys`; NaN: no label."""
        ...

    def loss(self, windows: Windows) -> "nn.Module":
        """The loss, its scales taken from the inner training rows."""
        ...

    def metric(self, outputs: Outputs, windows: Windows) -> dict[str, float]:
        """Figures of an epoch on the inner validation rows, higher is better; {} where the loss is all."""
        ...

    def from_network(self, outputs: Outputs) -> np.ndarray:
        """Outputs of a network as (rows, columns)."""
        ...

    def publish(self, values: np.ndarray, context: pl.DataFrame) -> pl.DataFrame:
        """(rows, columns) and the `context` features as the published columns, derived ones and `score` included."""
        ...


def softmax(logits: np.ndarray) -> np.ndarray:
    """Class probabilities (rows, classes)."""
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probability of each logit."""
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -40.0, 40.0)))


def _column(keys: pl.DataFrame, name: str) -> np.ndarray:
    return keys[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _classes(keys: pl.DataFrame, name: str = "target") -> np.ndarray:
    return keys[name].cast(pl.Int64).to_numpy()


def _frame(columns: tuple[str, ...], values: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame({name: np.asarray(values[:, i], dtype=np.float64) for i, name in enumerate(columns)})


def _typical(values: np.ndarray) -> float:
    """Mean absolute size, above 0."""
    known = values[~np.isnan(values)]
    return max(float(np.abs(known).mean()) if known.size else 0.0, _VOLATILITY_FLOOR)


def _apart(keys: pl.DataFrame, returns: np.ndarray) -> np.ndarray:
    """Returns, (rows, horizons), with the market's move of each session put at its mean over all sessions.

    What moves all symbols of a session alike comes once a session: a few hundred of them say little about it, and it
    hides what tells symbols apart. Rows share a move if they share session and end of the label: but for that one
    mean no row learns of a return that is known later than its own. Where fewer than `groups.GROUP` rows
    do, their returns stay as they are.
    """
    together = numbered(keys.select(c for c in ("session", "label_end") if c in keys.columns))
    found = returns.copy()
    for column in found.T:
        known = ~np.isnan(column)
        if known.any():
            column[known] = apart(column[known], together[known])
    return found


_DIRECTION_CHANCES = {"p_sell": "Chance of Sell.", "p_hold": "Chance of Hold.", "p_buy": "Chance of Buy."}


class Direction:
    """Sell, Hold or Buy (seed 003). Score: P(buy) - P(sell)."""

    name: str = "direction"
    kind: Literal["class", "value"] = "class"
    columns: tuple[str, ...] = ("p_sell", "p_hold", "p_buy")
    labels: tuple[str, ...] = ("target",)
    context: tuple[str, ...] = ()
    published: Mapping[str, Any] = dict.fromkeys(("p_sell", "p_hold", "p_buy", "score"), pl.Float64)
    described: Mapping[str, str] = {**_DIRECTION_CHANCES, "score": "P(buy) less P(sell)."}

    def targets(self, keys: pl.DataFrame) -> dict[str, np.ndarray]:
        """See `Task.targets`."""
        return {"target": _classes(keys)}

    def loss(self, windows: Windows) -> "nn.Module":
        """Cross-entropy: probabilities are wanted as they are."""
        from trademl_pipeline.models.losses import CrossEntropyLoss

        return CrossEntropyLoss()

    def metric(self, outputs: Outputs, windows: Windows) -> dict[str, float]:
        """See `Task.metric`."""
        return {"accuracy": float((outputs["logits"].argmax(1) == windows.targets["target"]).mean())}

    def from_network(self, outputs: Outputs) -> np.ndarray:
        """See `Task.from_network`."""
        return softmax(np.asarray(outputs["logits"], dtype=np.float64))

    def publish(self, values: np.ndarray, context: pl.DataFrame) -> pl.DataFrame:
        """See `Task.publish`."""
        return _frame(self.columns, values).with_columns(score=pl.col("p_buy") - pl.col("p_sell"))


class Breakout:
    """Classes K0 to K5 of a consolidation pattern (seed 001). Score: the expected strategic value.

    The networks learn with the asymmetric loss, whose class weights are costs: their sigmoids scaled to sum to 1 say
    what to call, not how often it happens. The study therefore calibrates them on rows that no member learned from.
    """

    name: str = "breakout"
    kind: Literal["class", "value"] = "class"
    columns: tuple[str, ...] = ("p_k0", "p_k1", "p_k2", "p_k3", "p_k4", "p_k5")
    labels: tuple[str, ...] = ("target",)
    context: tuple[str, ...] = ()
    published: Mapping[str, Any] = {
        **dict.fromkeys(("p_k0", "p_k1", "p_k2", "p_k3", "p_k4", "p_k5", "ev"), pl.Float64),
        "signal": pl.String,
        "score": pl.Float64,
    }
    described: Mapping[str, str] = {
        "p_k0": "Chance of K0: stagnant, neither a gain of 5 % nor a failure.",
        "p_k1": "Chance of K1: minimal, a gain of 5 % above the upper boundary.",
        "p_k2": "Chance of K2: quality, of 15 %.",
        "p_k3": "Chance of K3: strong, of 35 %.",
        "p_k4": "Chance of K4: exceptional, of 75 %.",
        "p_k5": "Chance of K5: failed first, with no gain reached.",
        "ev": "Expected strategic value of the class.",
        "signal": "STRONG, GOOD, MODERATE, NONE or AVOID, by the expected value and the chance of K5.",
        "score": "The expected value.",
    }

    def targets(self, keys: pl.DataFrame) -> dict[str, np.ndarray]:
        """See `Task.targets`."""
        return {"target": _classes(keys)}

    def loss(self, windows: Windows) -> "nn.Module":
        """One class against the rest, focused on the rare gains."""
        from trademl_pipeline.models.losses import AsymmetricLoss

        return AsymmetricLoss()

    def metric(self, outputs: Outputs, windows: Windows) -> dict[str, float]:
        """Recall of K4, correlation of expected and realised value, and their sum `both`; 0 where undefined."""
        p, y = self.from_network(outputs), windows.targets["target"]
        values = np.asarray(STRATEGIC_VALUES)
        called, came = p.argmax(1) == 4, y == 4
        recall = float(called[came].mean()) if came.any() else 0.0
        ev, real = p @ values, values[y]
        varies = len(y) > 1 and ev.std() > 0 and real.std() > 0
        correlation = float(np.corrcoef(ev, real)[0, 1]) if varies else 0.0
        return {"k4_recall": recall, "ev_correlation": correlation, "both": recall + correlation}

    def from_network(self, outputs: Outputs) -> np.ndarray:
        """See `Task.from_network`."""
        p = sigmoid(np.asarray(outputs["logits"], dtype=np.float64))
        return p / p.sum(axis=1, keepdims=True)

    def publish(self, values: np.ndarray, context: pl.DataFrame) -> pl.DataFrame:
        """Signals by definitions.md: AVOID below 0 or P(K5) > 0.30, else by the expected value."""
        ev = pl.col("ev")
        signal = (
            pl.when((ev < 0) | (pl.col("p_k5") > 0.30))
            .then(pl.lit("AVOID"))
            .when(ev >= 5)
            .then(pl.lit("STRONG"))
            .when(ev >= 3)
            .then(pl.lit("GOOD"))
            .when(ev >= 1)
            .then(pl.lit("MODERATE"))
            .otherwise(pl.lit("NONE"))
        )
        frame = _frame(self.columns, values).with_columns(ev=pl.Series(values @ np.asarray(STRATEGIC_VALUES)))
        return frame.with_columns(signal=signal, score=ev)


class Forecast:
    """Return and volatility over 1 and 30 sessions (seed 000). Score: the mean over 1 session.

    It is judged by how it ranks returns, which is what the mean forecasts; over its volatility it would rank returns in
    units of risk.
    """

    name: str = "forecast"
    kind: Literal["class", "value"] = "value"
    columns: tuple[str, ...] = ("mean_1", "volatility_1", "mean_30", "volatility_30")
    labels: tuple[str, ...] = ("return_1", "volatility_1", "return_30", "volatility_30")
    context: tuple[str, ...] = ()
    published: Mapping[str, Any] = dict.fromkeys(
        ("mean_1", "volatility_1", "mean_30", "volatility_30", "score"), pl.Float64
    )
    described: Mapping[str, str] = {
        "mean_1": "Log return of the next session, forecast.",
        "volatility_1": "Absolute size of it, forecast, as a volatility per session.",
        "mean_30": "Log return over the next 30 sessions, forecast.",
        "volatility_30": "Root mean square of the daily log returns over them, forecast, per session.",
        "score": "mean_1.",
    }

    def targets(self, keys: pl.DataFrame) -> dict[str, np.ndarray]:
        """Returns, learned apart from the market's moves, see `_apart`, and volatilities."""
        came = {
            name: np.column_stack([_column(keys, f"{label}_{h}") for h in (1, 30)])
            for name, label in (("forward_return", "return"), ("volatility", "volatility"))
        }
        return {**came, "forward_return": _apart(keys, came["forward_return"])}

    @property
    def logs(self) -> tuple[str, ...]:
        """Columns above 0, which a linear model regresses as logarithms."""
        return ("volatility_1", "volatility_30")

    @property
    def units(self) -> Mapping[str, str]:
        """Returns that a linear model regresses in units of their volatility."""
        return {"mean_1": "volatility_1", "mean_30": "volatility_30"}

    @property
    def sessions(self) -> Mapping[str, int]:
        """Horizon of each return that is forecast."""
        return {"mean_1": 1, "mean_30": 30}

    def truth(self, keys: pl.DataFrame) -> np.ndarray:
        """What came, (rows, columns), NaN where there is no label."""
        return np.column_stack([_column(keys, name) for name in self.labels])

    def regressed(self, targets: Mapping[str, np.ndarray]) -> np.ndarray:
        """The targets by column."""
        mean, volatility = targets["forward_return"], targets["volatility"]
        return np.column_stack([mean[:, 0], volatility[:, 0], mean[:, 1], volatility[:, 1]])

    def loss(self, windows: Windows) -> "nn.Module":
        """The multi-objective loss in units of each horizon's typical return."""
        from trademl_pipeline.models.losses import FinancialLoss

        returns = windows.targets["forward_return"]
        return FinancialLoss(tuple(_typical(returns[:, i]) for i in range(returns.shape[1])))

    def metric(self, outputs: Outputs, windows: Windows) -> dict[str, float]:
        """Share of right signs of the 1-session return, apart from the market's move as it is learned."""
        real = windows.targets["forward_return"][:, 0]
        moved = real != 0
        right = (outputs["mean"][:, 0] > 0) == (real > 0)
        return {"directional_accuracy": float(right[moved].mean()) if moved.any() else 0.0}

    def from_network(self, outputs: Outputs) -> np.ndarray:
        """See `Task.from_network`."""
        mean, volatility = np.asarray(outputs["mean"]), np.exp(np.asarray(outputs["log_volatility"]))
        return np.column_stack([mean[:, 0], volatility[:, 0], mean[:, 1], volatility[:, 1]]).astype(
            np.float64
        )

    def publish(self, values: np.ndarray, context: pl.DataFrame) -> pl.DataFrame:
        """See `Task.publish`."""
        return _frame(self.columns, values).with_columns(score=pl.col("mean_1"))


PATTERNS = tuple(FEATURE_OF)
# More than 60 % of five sessions, of a coin: (5 + 1) / 2^5.
_KEPT_BY_CHANCE = 6 / 32


class Pattern:
    """Will a pattern resolve as it should within five sessions (seed 002)?

    The score is a meta-label. The technical signal is momentum, `direction`, the sign of the last seven sessions'
    return; the model does not choose it, it says how far to trust it. Confidence is the chance that the signal is
    right: the mean of 1 - P(it turns), turning being trend exhaustion and volume divergence alike, and of P(momentum
    persists), its odds taken against those of a coin: four of five sessions keep a sign by chance 6 times in 32 only,
    so that as it stands every signal would look wrong.
    """

    name: str = "pattern"
    kind: Literal["class", "value"] = "value"
    columns: tuple[str, ...] = tuple(f"p_{p}" for p in PATTERNS)
    labels: tuple[str, ...] = PATTERNS
    context: tuple[str, ...] = ("return_7",)
    published: Mapping[str, Any] = {
        **dict.fromkeys((f"p_{p}" for p in PATTERNS), pl.Float64),
        "direction": pl.Int8,
        "confidence": pl.Float64,
        "score": pl.Float64,
    }
    described: Mapping[str, str] = {
        "p_momentum_persistence": "Chance that more than 60 % of the next five returns keep the sign of the drift.",
        "p_volatility_regime": "Chance that volatility over five sessions is on the side the feature says.",
        "p_trend_exhaustion": "Chance that the next five sessions go against the last ten.",
        "p_volume_divergence": "Chance that the next five sessions go against the last five.",
        "direction": "The technical signal: sign of the last seven sessions' return.",
        "confidence": "How far to trust it, 0 to 1; a half is a coin.",
        "score": "direction times confidence less a half.",
    }

    def targets(self, keys: pl.DataFrame) -> dict[str, np.ndarray]:
        """The four outcomes, and the side tasks: did the drift pay, the regime, and the size of what followed."""
        outcome = np.column_stack([_column(keys, p) for p in PATTERNS])
        side = {
            "signal_quality": np.where(
                np.isnan(outcome).all(axis=1), np.nan, (np.nan_to_num(outcome).max(axis=1) > 0).astype(float)
            )
        }
        if "forward_return" in keys.columns:
            moved = _column(keys, "forward_return")
            side["log_volatility"] = np.log(np.maximum(np.abs(moved), 1e-4))
            side["regime"] = np.where(np.isnan(moved), np.nan, np.digitize(moved, [-0.01, 0.01]))
        return {"confidence": outcome, **side}

    @property
    def chances(self) -> tuple[str, ...]:
        """Columns that are probabilities."""
        return self.columns

    def truth(self, keys: pl.DataFrame) -> np.ndarray:
        """What came, (rows, columns), NaN where the pattern did not fire."""
        return self.targets(keys)["confidence"]

    def regressed(self, targets: Mapping[str, np.ndarray]) -> np.ndarray:
        """The targets by column."""
        return targets["confidence"]

    def loss(self, windows: Windows) -> "nn.Module":
        """Correlation-optimised confidence, with the side tasks at a small weight."""
        from trademl_pipeline.models.losses import PatternLoss

        return PatternLoss()

    def metric(self, outputs: Outputs, windows: Windows) -> dict[str, float]:
        """Share of right calls over all patterns that fired."""
        real = windows.targets["confidence"]
        known = ~np.isnan(real)
        right = (outputs["confidence"] > 0) == (real > 0.5)
        return {"accuracy": float(right[known].mean()) if known.any() else 0.0}

    def from_network(self, outputs: Outputs) -> np.ndarray:
        """See `Task.from_network`."""
        return sigmoid(np.asarray(outputs["confidence"], dtype=np.float64))

    def calls(self, values: np.ndarray, keys: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """(probability, outcome 0 or 1) of every pattern that fired on some row, one after another."""
        came = self.targets(keys)["confidence"]
        known = ~np.isnan(came)
        return values[known], came[known]

    def publish(self, values: np.ndarray, context: pl.DataFrame) -> pl.DataFrame:
        """See `Task.publish`; where the direction is not known it is 0, and so is the score."""
        turn = pl.mean_horizontal("p_trend_exhaustion", "p_volume_divergence")
        kept = pl.col("p_momentum_persistence")
        against = kept * (1 - _KEPT_BY_CHANCE)
        frame = _frame(self.columns, values).with_columns(
            direction=context["return_7"].sign().fill_null(0).fill_nan(0).cast(pl.Int8),
            confidence=(against / (against + (1 - kept) * _KEPT_BY_CHANCE) + 1 - turn) / 2,
        )
        return frame.with_columns(score=pl.col("direction") * (pl.col("confidence") - 0.5))


class Hybrid:
    """Six tasks at once (seed 004): returns over 1, 4 and 24 bars, direction, position, volatility, risk, confidence.

    position: short, flat or long over 24 bars, the band being half a volatility known at the decision. risk: the
    deepest loss on the way. confidence: whether the 4-bar return left half a volatility, which is when acting on a
    forecast could pay at all. Score: the return that is forecast for a session, mean over the three horizons.
    """

    name: str = "hybrid"
    kind: Literal["class", "value"] = "value"
    columns: tuple[str, ...] = (
        "return_1",
        "return_4",
        "return_24",
        "p_sell",
        "p_hold",
        "p_buy",
        "position",
        "volatility",
        "risk",
        "confidence",
    )
    labels: tuple[str, ...] = (
        "return_1",
        "return_4",
        "return_24",
        "threshold",
        "target",
        "position",
        "volatility_24",
        "drawdown_24",
    )
    context: tuple[str, ...] = ()
    published: Mapping[str, Any] = dict.fromkeys(
        (
            "return_1",
            "return_4",
            "return_24",
            "p_sell",
            "p_hold",
            "p_buy",
            "position",
            "volatility",
            "risk",
            "confidence",
            "score",
        ),
        pl.Float64,
    )
    described: Mapping[str, str] = {
        "return_1": "Log return over 1 bar, forecast.",
        "return_4": "Log return over 4 bars, forecast.",
        "return_24": "Log return over 24 bars, forecast.",
        **_DIRECTION_CHANCES,
        "position": "P(long) less P(short) over 24 bars, -1 to 1.",
        "volatility": "Root mean square of the log returns over 24 bars, forecast, per bar.",
        "risk": "Deepest loss on the way through 24 bars, forecast.",
        "confidence": "Chance that the 4-bar return leaves half a volatility.",
        "score": "Return forecast for a session, mean over the three horizons.",
    }

    def targets(self, keys: pl.DataFrame) -> dict[str, np.ndarray]:
        """See the class; returns are learned apart from the market's moves, see `_apart`."""
        came = self._came(keys)
        return {**came, "price": _apart(keys, came["price"])}

    def _came(self, keys: pl.DataFrame) -> dict[str, np.ndarray]:
        price = np.column_stack([_column(keys, f"return_{h}") for h in (1, 4, 24)])
        position = _column(keys, "position")
        # The band of the label is half a volatility over 24 bars; a fourth of that position is its edge.
        decided = np.abs(price[:, 1]) / (_column(keys, "threshold") * (4 / 24) ** 0.5)
        return {
            "price": price,
            "direction": _column(keys, "target"),
            "position": np.where(np.isnan(position), np.nan, np.digitize(position, [-0.25, 0.25])),
            "volatility": _column(keys, "volatility_24"),
            "risk": _column(keys, "drawdown_24"),
            "confidence": np.where(np.isnan(decided), np.nan, (decided > 1).astype(float)),
        }

    @property
    def logs(self) -> tuple[str, ...]:
        """Columns above 0."""
        return ("volatility",)

    @property
    def chances(self) -> tuple[str, ...]:
        """Columns that are probabilities."""
        return (*self.exclusive[0], "confidence")

    @property
    def exclusive(self) -> tuple[tuple[str, ...], ...]:
        """The classes of the direction."""
        return (("p_sell", "p_hold", "p_buy"),)

    def truth(self, keys: pl.DataFrame) -> np.ndarray:
        """What came, as `regressed`, NaN where there is no label."""
        return self.regressed(self._came(keys))

    def regressed(self, targets: Mapping[str, np.ndarray]) -> np.ndarray:
        """The targets by column; of the position its side: -1, 0 or 1."""
        direction = targets["direction"][:, None]
        classes = np.where(np.isnan(direction), np.nan, direction == np.arange(3))
        rest = [targets["position"] - 1, targets["volatility"], targets["risk"], targets["confidence"]]
        return np.column_stack([targets["price"], classes, *rest])

    def loss(self, windows: Windows) -> "nn.Module":
        """The weighted sum of the tasks, returns in units of their typical size."""
        from trademl_pipeline.models.losses import MultiTaskLoss

        price = windows.targets["price"]
        risk = _typical(windows.targets["risk"])
        return MultiTaskLoss(tuple(_typical(price[:, i]) for i in range(price.shape[1])), risk_scale=risk)

    def metric(self, outputs: Outputs, windows: Windows) -> dict[str, float]:
        """Accuracy of the direction task."""
        real = windows.targets["direction"]
        known = ~np.isnan(real)
        right = outputs["direction"].argmax(1) == real
        return {"accuracy": float(right[known].mean()) if known.any() else 0.0}

    def from_network(self, outputs: Outputs) -> np.ndarray:
        """See `Task.from_network`."""
        position = softmax(np.asarray(outputs["position"], dtype=np.float64))
        return np.column_stack(
            [
                np.asarray(outputs["price"], dtype=np.float64),
                softmax(np.asarray(outputs["direction"], dtype=np.float64)),
                position[:, 2] - position[:, 0],
                np.exp(np.asarray(outputs["volatility"], dtype=np.float64)),
                np.asarray(outputs["risk"], dtype=np.float64),
                sigmoid(np.asarray(outputs["confidence"], dtype=np.float64)),
            ]
        )

    def publish(self, values: np.ndarray, context: pl.DataFrame) -> pl.DataFrame:
        """See `Task.publish`."""
        a_session = [values[:, i] / h for i, h in enumerate((1, 4, 24))]
        return _frame(self.columns, values).with_columns(score=pl.Series(np.mean(a_session, axis=0)))


TASKS: Mapping[str, Task] = {
    task.name: task for task in (Direction(), Breakout(), Forecast(), Pattern(), Hybrid())
}
