"""Walk-forward folds with purge by label interval and embargo in sessions."""
