"""Stage market: bars as they arrive, checked and filed by month."""
