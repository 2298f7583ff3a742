"""Tables are made and read in a lake."""

from trademl_pipeline_tests.lake.conftest import lake

__all__ = ["lake"]
