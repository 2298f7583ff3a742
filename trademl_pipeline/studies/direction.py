"""Buy, Hold or Sell over the next week, by gradient-boosted trees on daily indicators (seed 003)."""

from trademl_pipeline.studies.spec import FoldPlan, StudySpec

DIRECTION = StudySpec(
    name="direction",
    title="Buy/Hold/Sell over the next 5 sessions",
    feature_set="indicators",
    window=60,
    lags=(0, 1),
    horizon=5,
    k=0.5,
    folds=FoldPlan(min_train=252, window=None, embargo=5),
    model={"num_leaves": 15, "min_leaf": 200, "class_weights": "none"},
)
