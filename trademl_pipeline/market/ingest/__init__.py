"""Taking in a month of bars: fetching, staging, versions."""
