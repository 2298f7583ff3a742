"""Keys that tables have in common."""

# What most rows are of.
PANEL_KEY = ("symbol", "session")
