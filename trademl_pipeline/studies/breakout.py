"""Which class of breakout follows a consolidation, by Mamba and attention on its snapshots."""

from trademl_pipeline.portfolio.long_short import LongShortConfig
from trademl_pipeline.studies.spec import FoldPlan, StudySpec
from trademl_pipeline.training.members import Effort, MemberSpec
from trademl_pipeline.training.networks.schedule import Augmentation
from trademl_pipeline.training.study import FitPlan

ROWS = {"small": Effort(max_rows=20_000), "base": Effort()}

BREAKOUT = StudySpec(
    name="breakout",
    title="Class of the breakout after a consolidation, K0 to K5",
    feature_set="breakout",
    target="breakout",
    universe="ALL",
    window=50,
    decisions="snapshots",
    book=LongShortConfig(holding=20),
    folds=FoldPlan(min_train=252, window=None, embargo=5),
    fit=FitPlan(
        task="breakout",
        calibrate=True,
        ensemble="mean",
        members=(
            MemberSpec(
                "mamba_attention",
                "mamba_attention",
                {
                    "small": Effort(
                        "small", epochs=4, max_rows=6_000, training={"patience": 0, "keep": "last"}
                    ),
                    "base": Effort("base", epochs=30, max_rows=200_000),
                },
                training={
                    "batch_size": 128,
                    "learning_rate": 1e-3,
                    "patience": 5,
                    "monitor": "both",
                    "augmentation": Augmentation(noise=0.1),
                },
            ),
            # A pattern shows what it shows over weeks: the trees that vote also see means of the window.
            MemberSpec(
                "window_trees",
                "lightgbm",
                ROWS,
                settings={
                    "class_weights": "none",
                    "max_rounds": 100,
                    "num_leaves": 15,
                    "min_leaf": 20,
                    "feature_share": 0.3,
                },
                means=(10, 25, 50),
            ),
            MemberSpec("lightgbm", "lightgbm", ROWS, settings={"class_weights": "none"}, baseline=True),
            MemberSpec(
                "xgboost",
                "xgboost",
                ROWS,
                settings={"class_weights": "none", "max_depth": 4},
                baseline=True,
            ),
        ),
    ),
)
