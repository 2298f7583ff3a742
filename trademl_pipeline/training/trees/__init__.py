"""Trees: boosters, their rows and settings, as estimators of classes and values."""
