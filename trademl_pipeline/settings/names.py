"""The names that values go by outside: variables, those of earlier versions, and flags."""

# What each variable of earlier versions is now. They still work, with a warning.
OLD_VARIABLES = {
    "TRADEML_SOURCE": "data.source",
    "TRADEML_DATA": "data.path",
    "TRADEML_COLUMNS": "data.columns",
    "TRADEML_SYMBOLS": "data.symbols",
    "TRADEML_CALENDAR": "data.calendar",
    "TRADEML_START": "data.start",
    "TRADEML_UNIVERSE": "universe.name",
    "TRADEML_MEMBERSHIP": "universe.membership",
    "TRADEML_REFERENCE": "references.path",
    "TRADEML_SECTORS": "references.sectors",
    "TRADEML_SHARES": "references.shares",
    "TRADEML_INDEX_WEIGHTING": "references.index_weighting",
    "TRADEML_INDEX_UNIVERSE": "references.index_universe",
    "TRADEML_QUALITY": "quality.rules",
    "TRADEML_CROSSCHECK": "quality.crosscheck",
    "TRADEML_REVISIONS": "ingest.revisions",
    "TRADEML_FETCH": "ingest.fetch",
    "TRADEML_DELAY_MINUTES": "ingest.delay_minutes",
    "TRADEML_ALPACA_FEED": "vendors.alpaca_feed",
    "TRADEML_ALPACA_URL": "vendors.alpaca_url",
    "TRADEML_BINANCE_URL": "vendors.binance_url",
    "TRADEML_YAHOO_CACHE": "vendors.yahoo_cache",
    "TRADEML_LAKE_CATALOG": "lake.catalog",
    "TRADEML_LAKE_DATA": "lake.data_path",
    "TRADEML_LAKE_RETRIES": "lake.retries",
    "TRADEML_S3_ENDPOINT": "s3.endpoint",
    "TRADEML_S3_REGION": "s3.region",
    "TRADEML_S3_USE_SSL": "s3.use_ssl",
    "TRADEML_S3_URL_STYLE": "s3.url_style",
    "TRADEML_MLFLOW_URI": "tracking.uri",
    "TRADEML_DAGSTER_STORAGE": "dagster.storage",
    "TRADEML_SIZE": "training.size",
    "TRADEML_REFIT": "training.refit",
    "TRADEML_THREADS": "training.threads",
}
# Secrets have these variables and no place in a file.
SECRET_VARIABLES = {
    "APCA_API_KEY_ID": "vendors.alpaca_key_id",
    "APCA_API_SECRET_KEY": "vendors.alpaca_secret",
    "TRADEML_S3_KEY_ID": "s3.key_id",
    "TRADEML_S3_SECRET": "s3.secret",
    "TRADEML_ALERT_WEBHOOK": "alerts.webhook",
}
HOME_VARIABLE = "TRADEML_HOME"
PREFIX, NESTED = "TRADEML_", "__"
# Flags that are not named as their key is.
_FLAGS = {
    "data.path": "--data",
    "data.columns": "--column",
    "universe.name": "--universe",
    "references.path": "--reference",
    "vendors.alpaca_feed": "--feed",
    "ingest.fetch": "--missing",
}


def variable(key: str) -> str:
    """The variable of a key: `TRADEML_DATA__SYMBOLS` of `data.symbols`; a secret has its own."""
    for name, secret in SECRET_VARIABLES.items():
        if secret == key:
            return name
    return PREFIX + key.upper().replace(".", NESTED)


def flag(key: str) -> str:
    """The flag of commands that sets a key."""
    return _FLAGS.get(key, f"--{key.split('.')[1].replace('_', '-')}")
