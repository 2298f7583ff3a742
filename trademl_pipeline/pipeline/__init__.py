"""The steps: each a function of the lake (or frames of it), a declaration, a month and settings; no Dagster."""
