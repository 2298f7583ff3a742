"""A code location like the real one, with the small study and the leak of `poison`."""

from trademl_pipeline.defs import build_definitions
from trademl_pipeline_tests.e2e.poison import plant

plant()
defs = build_definitions()
