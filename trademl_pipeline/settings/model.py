"""The settings of a data set: every value, its type, its default and what it means, declared in this one place.

A section of `Settings` is a section of `trademl.yaml`. Secrets are fields like any other, except that they come from
the environment alone and are shown as `***`.
"""

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, SecretStr, field_validator
from pydantic.config import JsonDict
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from trademl_pipeline.settings.origins import Origin, layers_in_force

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_CALENDAR = "XNYS"
VENDORS = ("alpaca", "binance", "yahoo")
SOURCES = ("simulated", "files", *VENDORS)
_MONTH = re.compile(r"^(\d{4})-(0[1-9]|1[0-2])(-01)?$")
_NUMBER = re.compile(r"^[+-]?\d+$")
# A password inside a connection string or an address.
_PASSWORD = re.compile(
    r"(password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&']+)|(://[^:/@\s]*:)([^@\s]+)(?=@)", re.IGNORECASE
)


def _month(value: Any) -> Any:
    """A month as its partition key, `YYYY-MM-01`; YAML reads an unquoted day as a date."""
    text = value.isoformat() if isinstance(value, date) else value
    if not isinstance(text, str) or (text and not _MONTH.match(text)):
        raise ValueError("is not a month; write it as YYYY-MM, e.g. 2016-01")
    return f"{text[:7]}-01" if text else ""


def _listed(value: Any) -> Any:
    """Symbols as one text: a list of YAML, or a number of them, is welcome too."""
    if isinstance(value, bool) or (isinstance(value, list) and not all(isinstance(v, str) for v in value)):
        raise ValueError('holds what YAML does not read as a name; put symbols such as "ON" in quotes')
    text = ",".join(value) if isinstance(value, list) else str(value) if isinstance(value, int) else value
    if isinstance(text, str) and _NUMBER.match(text.strip()) and int(text) < 1:
        raise ValueError(f"asks for {text.strip()} symbols; there has to be one at least")
    return text


Month = Annotated[str, BeforeValidator(_month)]
Symbols = Annotated[str, BeforeValidator(_listed)]
# A file or folder: made absolute where it is read, see `layers`.
PATH: JsonDict = {"path": True}


class Section(BaseModel):
    """A section of the settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Data(Section):
    """The bars: the identity of the data set."""

    source: Literal["simulated", "files", "alpaca", "binance", "yahoo"] = Field(
        default="simulated", description="where bars come from"
    )
    path: str = Field(
        default="",
        description="Parquet or CSV bars, file or folder, for source files",
        json_schema_extra=PATH,
    )
    columns: dict[str, str] = Field(
        default_factory=dict, description="our column names to the file's, such as close: Close"
    )
    symbols: Symbols = Field(
        default="",
        description="symbols separated by commas, or a number of them; empty: those of the universe, else all",
    )
    calendar: str = Field(
        default="",
        description="exchange calendar of the sessions, such as XLON or 24/7; empty: told by the bars",
    )
    start: Month = Field(default="", description="first month of history, YYYY-MM; empty: the source's own")
    end: Month = Field(
        default="", description="last month with bars, YYYY-MM; empty: the source's own, or open"
    )


class Universe(Section):
    """Whom one may decide on."""

    name: str = Field(
        default="",
        description="SP500, TIER_1, ..., symbols with commas, or a file of membership intervals; empty: all",
    )
    membership: str = Field(
        default="",
        description="CSV of the membership of SP500: symbol, start_date, end_date",
        json_schema_extra=PATH,
    )


class References(Section):
    """Series that symbols are compared with."""

    path: str = Field(
        default="", description="Parquet or CSV of SPY, sector funds, ^VIX and ^VIX3M", json_schema_extra=PATH
    )
    symbols: Symbols = Field(
        default="",
        description="funds and indices that a vendor is asked for too; compared with, never decided on",
    )
    sectors: str = Field(
        default="",
        description="CSV symbol, sector (its fund), start_date; over the built-in map",
        json_schema_extra=PATH,
    )
    shares: str = Field(
        default="",
        description="CSV symbol, shares, start_date: index weights by capital",
        json_schema_extra=PATH,
    )
    index_weighting: Literal["cap", "price", "equal"] = Field(
        default="cap", description="weights of the synthetic index"
    )
    index_universe: str = Field(
        default="", description="constituents of the synthetic index, such as SP500; empty: the universe"
    )


class Quality(Section):
    """When a check of the bars' quality fails, and what they are compared with."""

    rules: dict[str, Any] = Field(
        default_factory=dict,
        description="by check a severity, WARN or ERROR, or a mapping with severity and limit",
    )
    crosscheck: str = Field(
        default="", description="Parquet or CSV of a second source's bars", json_schema_extra=PATH
    )


class Ingest(Section):
    """How bars are taken in."""

    revisions: Literal["", "first", "latest"] = Field(
        default="", description="what becomes of values that changed; empty: as is usual for the source"
    )
    fetch: Literal["", "missing"] = Field(default="", description="missing: fetch only what the lake lacks")
    delay_minutes: float = Field(
        default=0.0, ge=0, description="minutes after a bar's end at which a vendor's bar is known"
    )


class Vendors(Section):
    """How vendors are reached."""

    alpaca_feed: Literal["iex", "sip", "delayed_sip", "otc"] = Field(
        default="iex", description="Alpaca's feed; iex is free"
    )
    alpaca_url: str = Field(default="", description="another server than Alpaca's own")
    alpaca_key_id: SecretStr = Field(default=SecretStr(""), description="Alpaca's key")
    alpaca_secret: SecretStr = Field(default=SecretStr(""), description="Alpaca's secret")
    binance_url: str = Field(default="", description="another server than Binance's public market data")
    yahoo_cache: str = Field(
        default="",
        description="folder for yfinance's cookies and time zones; empty: in the data set's",
        json_schema_extra=PATH,
    )


class LakeSettings(Section):
    """Place of the lake."""

    catalog: str = Field(
        default="",
        repr=False,
        description="sqlite:<file> or postgres:<libpq dsn>; empty: SQLite in the folder",
    )
    data_path: str = Field(default="", description="local folder or s3://bucket/prefix; empty: in the folder")
    retries: int = Field(default=12, ge=1, description="attempts of a whole transaction")


class S3(Section):
    """Access to the object storage that the lake's data may lie on."""

    endpoint: str = Field(default="", description="host:port without scheme; empty: AWS")
    region: str = Field(default="us-east-1", description="region of the bucket")
    use_ssl: bool = Field(default=True, description="whether the endpoint speaks TLS")
    url_style: Literal["", "path", "vhost"] = Field(
        default="", description="how a bucket is addressed; empty: chosen by the endpoint"
    )
    key_id: SecretStr = Field(default=SecretStr(""), description="key; empty: AWS's credential chain")
    secret: SecretStr = Field(default=SecretStr(""), description="secret of the key")


class Tracking(Section):
    """Place where runs are tracked."""

    uri: str = Field(
        default="", repr=False, description="MLflow tracking server; empty: SQLite in the folder"
    )
    experiment: str = Field(default="trademl", min_length=1, description="prefix of the experiments' names")


class Dagster(Section):
    """Place of the Dagster instance."""

    storage: str = Field(
        default="",
        description="folder of the Dagster instance (DAGSTER_HOME); empty: in the data set's",
        json_schema_extra=PATH,
    )


class Training(Section):
    """How models are trained, for all studies."""

    size: str = Field(
        default="", description="size of the models, such as small or base; empty: the study's first"
    )
    refit: Literal["", "month", "quarter"] = Field(
        default="", description="how often models are trained; empty: as the study says"
    )
    epochs: int = Field(default=0, ge=0, description="epochs of every network; 0: as the preset says")
    threads: int = Field(default=0, ge=0, description="threads of each training library; 0: all cores")


class Gate(Section):
    """How hard the gate samples within one month."""

    cutoffs: int = Field(default=2, ge=1, description="as-of sessions drawn per month and probe")
    seed: int = Field(default=0, ge=0, description="seed of the draw")
    keep_going: bool = Field(
        default=False, description="go on with a table's other months after one that the gate refused"
    )


class Costs(Section):
    """Costs of trading in the naive portfolio of the reports."""

    commission: float = Field(default=0.001, ge=0, description="share of the traded value, each side")
    slippage: float = Field(default=0.001, ge=0, description="share of the traded value, each side")
    participation: float = Field(
        default=0.05, gt=0, le=1, description="largest share of a session's volume that one fill may take"
    )


class Alerts(Section):
    """Who is told of failures."""

    webhook: SecretStr = Field(
        default=SecretStr(""), description="failures are posted there as JSON, besides failures.jsonl"
    )


class Settings(BaseSettings):
    """Everything that can be set about a data set; see `settings.load` for where values come from."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    home: Path = Field(description="the data set's folder")
    data: Data = Data()
    universe: Universe = Universe()
    references: References = References()
    quality: Quality = Quality()
    ingest: Ingest = Ingest()
    vendors: Vendors = Vendors()
    lake: LakeSettings = LakeSettings()
    s3: S3 = S3()
    tracking: Tracking = Tracking()
    dagster: Dagster = Dagster()
    training: Training = Training()
    gate: Gate = Gate()
    costs: Costs = Costs()
    alerts: Alerts = Alerts()

    _origins: dict[str, Origin] = PrivateAttr(default_factory=dict)

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.resolve()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the layers that `load` put together, strongest first; variables are read by them alone.

        Args:
            settings_cls: this class.
            init_settings: what the caller gives, before the layers.
            env_settings, dotenv_settings, file_secret_settings: not taken.
        """
        return (init_settings, *layers_in_force(settings_cls))

    @property
    def calendar(self) -> str:
        """The exchange calendar that everything counts sessions on."""
        return self.data.calendar or DEFAULT_CALENDAR

    @property
    def dagster_home(self) -> Path:
        """Folder of the Dagster instance."""
        return Path(self.dagster.storage) if self.dagster.storage else self.home / "dagster"

    def value(self, key: str) -> Any:
        """The value of a key such as `training.size`, secrets in plain text."""
        section, name = key.split(".")
        value = getattr(getattr(self, section), name)
        return value.get_secret_value() if isinstance(value, SecretStr) else value

    def shown(self, key: str) -> Any:
        """The value of a key as it may be printed: secrets, and passwords inside addresses, as `***`."""
        value = self.value(key)
        if key in secret_keys() and value:
            return "***"
        return hidden(value) if isinstance(value, str) else str(value) if isinstance(value, Path) else value


def hidden(text: str) -> str:
    """A text without the passwords of connection strings and addresses in it."""
    return _PASSWORD.sub(lambda m: f"{m[1] or m[3]}***", text)


def keys() -> list[str]:
    """All keys, `section.name`, in the order of their declaration."""
    return [key for key, _ in fields()]


def fields() -> list[tuple[str, Any]]:
    """Key and pydantic's field of every value but the home."""
    return [
        (f"{section}.{name}", field)
        for section, declared in Settings.model_fields.items()
        if isinstance(declared.annotation, type) and issubclass(declared.annotation, Section)
        for name, field in declared.annotation.model_fields.items()
    ]


def secret_keys() -> set[str]:
    """Keys whose values come from the environment alone."""
    return {key for key, field in fields() if field.annotation is SecretStr}


def path_keys() -> set[str]:
    """Keys that name a file or a folder."""
    return {key for key, field in fields() if (field.json_schema_extra or {}).get("path")}


def describe(key: str) -> str:
    """Return what a key means."""
    return dict(fields())[key].description
