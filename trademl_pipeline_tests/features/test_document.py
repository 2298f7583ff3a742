"""The page of features is the registry's."""

from trademl_pipeline.features import FEATURES
from trademl_pipeline.features.document import PAGE, page


def test_the_page_is_in_step_with_the_registry() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m trademl_pipeline.features.document"


def test_every_feature_is_on_the_page_with_its_warmup() -> None:
    text = page()
    for name, feature in FEATURES.items():
        line = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        assert f"| {feature.warmup} |" in line
        assert line.count("|") - line.count("\\|") == 8
