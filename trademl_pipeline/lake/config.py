"""The lake's places: catalog and data path, each one configuration value."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from trademl_pipeline.lake.errors import LakeConfigError

# A password as libpq reads it: quoted, plain, as a parameter of a URL, or before the host of a URL.
_PASSWORDS = [
    re.compile(pattern)
    for pattern in (
        r"password\s*=\s*'((?:[^'\\]|\\.)*)'",
        r"password\s*=\s*([^\s']+)",
        r"password=([^\s&]+)",
        r"://[^:/@\s]*:([^@\s]*)@",
    )
]


@dataclass(frozen=True)
class S3Config:
    """Access to S3 or an S3-compatible store.

    Without `key_id` the AWS credential chain (environment, profile, instance role) is used.

    Attributes:
        endpoint: "host:port" or "host" without scheme; None for AWS.
        region: of the bucket.
        key_id, secret: credentials.
        use_ssl: speak HTTPS.
        url_style: how a bucket is addressed, "path" (most compatible stores) or "vhost" (AWS); None chooses
            by the endpoint.
    """

    endpoint: str | None = None
    region: str = "us-east-1"
    key_id: str | None = None
    secret: str | None = field(default=None, repr=False)
    use_ssl: bool = True
    url_style: str | None = None

    def __post_init__(self) -> None:
        if self.endpoint and "://" in self.endpoint:
            raise LakeConfigError(
                f"S3 endpoint {self.endpoint!r}: leave the scheme out (host:port) and say it with use_ssl"
            )
        if self.url_style not in (None, "path", "vhost"):
            raise LakeConfigError(f"S3 url_style {self.url_style!r}: use 'path' or 'vhost'")
        if (self.key_id is None) != (self.secret is None):
            raise LakeConfigError(
                "S3 key_id and secret: give both, or neither to use the AWS credential chain"
            )

    @property
    def style(self) -> str:
        """How a bucket is addressed: as given, else "path" with an endpoint and "vhost" on AWS."""
        return self.url_style or ("path" if self.endpoint else "vhost")


@dataclass(frozen=True)
class LakeConfig:
    """Places of catalog and data, and the patience of writers.

    Attributes:
        catalog: "sqlite:<path of the catalog file>" or "postgres:<libpq connection string>".
        data_path: local folder or "s3://bucket/prefix" that holds the Parquet files.
        s3: access to the object storage, where data_path is one.
        retries: attempts of a whole transaction before LakeBusyError.
        lock_timeout: seconds to wait for another writer of the same month, or for the turn to commit.
    """

    catalog: str
    data_path: str
    s3: S3Config | None = None
    retries: int = 12
    lock_timeout: float = 600.0

    def __post_init__(self) -> None:
        kind, _, where = self.catalog.partition(":")
        if kind not in ("sqlite", "postgres") or not where:
            raise LakeConfigError(
                "lake catalog: give 'sqlite:<path>' or 'postgres:<libpq connection string>', for example "
                "'sqlite:data/lake/catalog.sqlite'"
            )
        if self.retries < 1:
            raise LakeConfigError(f"lake retries must be at least 1, got {self.retries}")

    def __repr__(self) -> str:
        catalog = self.catalog if self.kind == "sqlite" else "postgres:<hidden>"
        return (
            f"LakeConfig(catalog={catalog!r}, data_path={self.data_path!r}, s3={self.s3!r}, "
            f"retries={self.retries})"
        )

    @property
    def kind(self) -> str:
        """Return the kind of catalog: sqlite or postgres."""
        return self.catalog.partition(":")[0]

    @property
    def location(self) -> str:
        """The catalog without its kind: a path, or a connection string that may hold a password."""
        return self.catalog.partition(":")[2]

    def redact(self, text: str) -> str:
        """The text without the connection string, passwords and secret keys of this configuration."""
        secrets = [self.s3.secret or ""] if self.s3 else []
        if self.kind == "postgres":
            for written in (
                password for pattern in _PASSWORDS for password in pattern.findall(self.location)
            ):
                secrets += [written, unquote(written), re.sub(r"\\(.)", r"\1", written)]
            text = text.replace(self.location, "<connection string>")
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    @property
    def on_object_storage(self) -> bool:
        """True where the data path is not a local folder."""
        return "://" in self.data_path

    @classmethod
    def local(cls, folder: str | Path, *, retries: int = 12) -> "LakeConfig":
        """The default lake in one folder: `catalog.sqlite` and `data/` under it (made absolute)."""
        root = Path(folder).absolute()
        return cls(catalog=f"sqlite:{root / 'catalog.sqlite'}", data_path=str(root / "data"), retries=retries)

    @classmethod
    def of(
        cls,
        home: str | Path,
        *,
        catalog: str = "",
        data_path: str = "",
        retries: int = 12,
        s3: Mapping[str, Any] | None = None,
    ) -> "LakeConfig":
        """The configuration from values of settings; `home`/lake where they are empty.

        Args:
            home: folder that relative paths are relative to, so that all processes mean the same place.
            catalog: "sqlite:<path>" or "postgres:<libpq connection string>".
            data_path: local folder or "s3://bucket/prefix".
            retries: attempts of a whole transaction.
            s3: fields of `S3Config`, looked at where the data lie on object storage; an empty one is not given.

        Raises:
            LakeConfigError: a value cannot be understood.
        """
        home = Path(home).absolute()
        default = cls.local(home / "lake")
        catalog = catalog or default.catalog
        if catalog.startswith("sqlite:") and catalog != "sqlite:":
            catalog = f"sqlite:{home / catalog.removeprefix('sqlite:')}"
        data_path = data_path or default.data_path
        remote = "://" in data_path
        if not remote:
            data_path = str(home / data_path)
        options = {name: value for name, value in (s3 or {}).items() if value != ""}
        return cls(
            catalog=catalog,
            data_path=data_path,
            s3=S3Config(**options) if remote else None,
            retries=retries,
        )
