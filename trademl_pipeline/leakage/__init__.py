"""The leakage gate: probes that show whether a value knew the future."""
