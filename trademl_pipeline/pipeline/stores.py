"""The lake of a data set."""

from functools import lru_cache

from trademl_pipeline.lake import Lake, LakeConfig
from trademl_pipeline.settings import Settings


def lake_config(settings: Settings, *, catalog: str = "", data_path: str = "") -> LakeConfig:
    """Return where the lake of a data set is.

    Args:
        settings: of the data set.
        catalog, data_path: other than the settings say; empty: as they say.

    Raises:
        LakeConfigError: the values make no sense together.
    """
    s3 = settings.s3
    return LakeConfig.of(
        settings.home,
        catalog=catalog or settings.lake.catalog,
        data_path=data_path or settings.lake.data_path,
        retries=settings.lake.retries,
        s3={
            "endpoint": s3.endpoint,
            "region": s3.region,
            "key_id": s3.key_id.get_secret_value(),
            "secret": s3.secret.get_secret_value(),
            "use_ssl": s3.use_ssl,
            "url_style": s3.url_style,
        },
    )


def open_lake(settings: Settings, *, catalog: str = "", data_path: str = "") -> Lake:
    """Return a handle on the lake, the same one for a configuration; each operation connects on its own.

    Args:
        settings: of the data set.
        catalog, data_path: other than the settings say; empty: as they say.

    Raises:
        LakeConfigError: the values make no sense together.
    """
    return _lake(lake_config(settings, catalog=catalog, data_path=data_path))


@lru_cache(maxsize=8)
def _lake(config: LakeConfig) -> Lake:
    # What a lake has looked up of its catalog holds for all steps of a run; looking it up costs more than a month.
    return Lake(config)
