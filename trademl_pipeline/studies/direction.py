"""Buy, Hold or Sell over the next week, by trees and networks on daily indicators."""

from trademl_pipeline.studies.spec import FoldPlan, StudySpec
from trademl_pipeline.training.members import Effort, MemberSpec
from trademl_pipeline.training.study import FitPlan
from trademl_pipeline.training.tuning import Choice, Range

TREES = {"small": Effort(max_rows=60_000, trials=2), "base": Effort(trials=20)}
# A signal as faint as the market's is learned from many different rows, not from the same ones again: the small size
# sees each row once, in a slim network.
BASE = Effort("base", epochs=30, max_rows=200_000)
LEARNING = {"batch_size": 256, "learning_rate": 2e-3, "patience": 5, "schedule": "cosine"}
ONCE = {"batch_size": 64, "learning_rate": 4e-3}

DIRECTION = StudySpec(
    name="direction",
    title="Buy/Hold/Sell over the next 5 sessions",
    feature_set="indicators",
    target="direction",
    universe="TIER_1",
    window=60,
    folds=FoldPlan(min_train=252, window=None, embargo=5, refit="quarter"),
    fit=FitPlan(
        task="direction",
        ensemble="weighted",
        members=(
            MemberSpec(
                "lightgbm",
                "lightgbm",
                TREES,
                settings={
                    "class_weights": "none",
                    "max_rounds": 100,
                    "num_leaves": 7,
                    "min_leaf": 400,
                    "feature_share": 0.5,
                },
                apart=(),
                space={
                    "num_leaves": Choice((4, 7, 15)),
                    "min_leaf": Range(200, 800, log=True),
                    "feature_share": Range(0.3, 0.7),
                },
            ),
            MemberSpec(
                "xgboost",
                "xgboost",
                {"small": Effort(max_rows=60_000), "base": Effort(trials=20)},
                settings={
                    "class_weights": "none",
                    "max_rounds": 100,
                    "max_depth": 3,
                    "min_child_weight": 100.0,
                },
                apart=(),
                space={"max_depth": Choice((2, 3, 4)), "min_child_weight": Range(20.0, 400.0, log=True)},
            ),
            MemberSpec("linear", "linear", {"small": Effort(), "base": Effort()}),
            MemberSpec(
                "lstm_attention",
                "lstm_attention",
                {"small": Effort("slim", epochs=1, max_rows=6_000, training=ONCE), "base": BASE},
                training=LEARNING,
            ),
            MemberSpec(
                "transformer",
                "transformer",
                {"small": Effort("slim", epochs=1, max_rows=20_000, training=ONCE), "base": BASE},
                training=LEARNING,
            ),
        ),
    ),
)
