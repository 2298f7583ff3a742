"""`python -m trademl_pipeline.cli`."""

from trademl_pipeline.cli import app

if __name__ == "__main__":
    app()
