import pytest

from trademl_pipeline.lake import LakeConfig, S3Config
from trademl_pipeline.lake.errors import LakeConfigError


def test_default_is_one_folder_under_home(tmp_path):
    config = LakeConfig.of(tmp_path)
    assert config.catalog == f"sqlite:{tmp_path}/lake/catalog.sqlite"
    assert config.data_path == f"{tmp_path}/lake/data"
    assert (config.kind, config.on_object_storage, config.s3) == ("sqlite", False, None)


def test_one_value_each_switches_catalog_and_storage(tmp_path):
    config = LakeConfig.of(
        tmp_path,
        catalog="postgres:host=db dbname=lake",
        data_path="s3://bucket/prefix",
        retries=3,
        s3={"endpoint": "minio:9000", "region": "", "key_id": "key", "secret": "hush", "use_ssl": False},
    )
    assert (config.kind, config.location, config.retries) == ("postgres", "host=db dbname=lake", 3)
    assert config.s3 == S3Config("minio:9000", "us-east-1", "key", "hush", use_ssl=False)
    assert S3Config("minio:9000").style == "path"


def test_aws_itself_is_addressed_by_virtual_hosts(tmp_path):
    config = LakeConfig.of(tmp_path, data_path="s3://bucket")
    assert config.s3 is not None
    assert (config.s3.endpoint, config.s3.style, config.s3.use_ssl) == (None, "vhost", True)


def test_relative_paths_are_relative_to_home(tmp_path):
    config = LakeConfig.of(tmp_path, catalog="sqlite:a/b.sqlite", data_path="c")
    assert (config.location, config.data_path) == (f"{tmp_path}/a/b.sqlite", f"{tmp_path}/c")


@pytest.mark.parametrize(
    "values",
    [
        {"catalog": "mysql:host=db"},
        {"catalog": "sqlite:"},
        {"catalog": "host=db password=hush"},
        {"retries": 0},
        {"s3": {"endpoint": "http://minio:9000"}},
        {"s3": {"url_style": "virtual"}},
        {"s3": {"key_id": "key-without-secret"}},
    ],
)
def test_value_that_cannot_be_understood_is_refused(tmp_path, values):
    with pytest.raises(LakeConfigError) as caught:
        LakeConfig.of(tmp_path, **{"data_path": "s3://bucket", **values})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "dsn",
    [
        "host=db password=hush user=u",
        "host=db password = 'hush' user=u",
        "postgresql://u:hush@db/lake",
        "postgresql://u@db/lake?password=hush&sslmode=require",
    ],
)
def test_password_shows_neither_in_the_configuration_nor_in_redacted_text(dsn):
    config = LakeConfig(f"postgres:{dsn}", "s3://b", s3=S3Config(key_id="key", secret="topsecret"))
    assert "hush" not in repr(config)
    assert "topsecret" not in repr(config)
    shown = config.redact(f"failed: {dsn}; tried hush and topsecret")
    assert "hush" not in shown
    assert "topsecret" not in shown


def test_quoted_password_with_spaces_and_url_escapes_are_redacted():
    assert "it's" not in LakeConfig(r"postgres:password='it\'s' host=h", "/d").redact("bad: it's")
    assert "it s" not in LakeConfig("postgres:password='it s' host=h", "/d").redact("bad password it s!")
    config = LakeConfig("postgres:postgresql://u:a%40b@h/d", "/d")
    assert config.redact("a@b or a%40b") == "*** or ***"
