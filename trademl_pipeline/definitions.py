"""The one Definitions object of the code location."""

from trademl_pipeline.defs import build_definitions

defs = build_definitions()
