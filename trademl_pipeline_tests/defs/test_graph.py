"""The graph of assets, held as plain data."""

import json

from trademl_pipeline.defs import build_definitions
from trademl_pipeline_tests.defs.graph import GRAPH, graph_of


def test_a_change_of_the_graph_shows_in_review():
    changed = (
        "the graph has changed: look at the change, then run python -m trademl_pipeline_tests.defs.graph"
    )
    assert graph_of(build_definitions()) == json.loads(GRAPH.read_text()), changed
