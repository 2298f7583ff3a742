"""Walk-forward folds: exchange sessions, purge by label interval, embargo."""

from trademl_pipeline.folds.walk_forward import Fold, FoldError, NotEnoughHistoryError, WalkForward

__all__ = ["Fold", "FoldError", "NotEnoughHistoryError", "WalkForward"]
