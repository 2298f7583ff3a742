import re
from pathlib import Path

from trademl_pipeline.models.registry import NETWORKS, build, count_parameters, presets

ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| (\d+) \| ([\d,]+) \|$", re.MULTILINE)


def test_parameter_counts_in_the_docs_are_those_of_the_networks():
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    told = {
        (name, size): (int(features), int(n.replace(",", "")))
        for name, size, features, n in ROW.findall(text)
    }
    assert set(told) == {(name, size) for name in NETWORKS for size in presets(name)}
    for (name, size), (features, count) in told.items():
        assert count_parameters(build(name, features, size)) == count, (name, size)
