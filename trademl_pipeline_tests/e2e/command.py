"""The command line with the small study and the leak of `poison`; its workers import this module too, and get both."""

from trademl_pipeline.cli import app
from trademl_pipeline_tests.e2e.poison import plant

plant()

if __name__ == "__main__":
    app()
