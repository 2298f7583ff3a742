"""Buy, Hold or Sell over the next week, by trees and networks on daily indicators (seed 003)."""

from trademl_pipeline.studies.spec import FoldPlan, StudySpec
from trademl_pipeline.training.members import Effort, MemberSpec
from trademl_pipeline.training.study import FitPlan
from trademl_pipeline.training.tuning import Choice, Range

TREES = {"small": Effort(max_rows=20_000, trials=2), "base": Effort(trials=20)}
NETWORKS = {
    "small": Effort("small", epochs=3, max_rows=2_000),
    "base": Effort("base", epochs=30, max_rows=200_000),
}
LEARNING = {"batch_size": 256, "learning_rate": 2e-3, "patience": 5, "schedule": "cosine"}

DIRECTION = StudySpec(
    name="direction",
    title="Buy/Hold/Sell over the next 5 sessions",
    feature_set="indicators",
    target="direction",
    universe="TIER_1",
    window=60,
    folds=FoldPlan(min_train=252, window=None, embargo=5),
    fit=FitPlan(
        task="direction",
        ensemble="weighted",
        members=(
            MemberSpec(
                "lightgbm",
                "lightgbm",
                TREES,
                settings={"class_weights": "none"},
                lags=(0, 1),
                space={
                    "num_leaves": Choice((7, 15, 31)),
                    "min_leaf": Range(100, 800, log=True),
                    "feature_share": Range(0.3, 0.9),
                },
            ),
            MemberSpec(
                "xgboost",
                "xgboost",
                {"small": Effort(max_rows=20_000), "base": Effort(trials=20)},
                settings={"class_weights": "none", "max_depth": 4, "min_child_weight": 100.0},
                lags=(0, 1),
                space={"max_depth": Choice((3, 4, 6)), "min_child_weight": Range(20.0, 400.0, log=True)},
            ),
            MemberSpec("lstm_attention", "lstm_attention", NETWORKS, training=LEARNING),
            MemberSpec("transformer", "transformer", NETWORKS, training=LEARNING),
        ),
    ),
)
