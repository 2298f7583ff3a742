"""Fixtures of the lake: an empty lake in a folder, a fresh PostgreSQL database, S3-compatible storage."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from trademl_pipeline.lake import Lake, LakeConfig, S3Config


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Lake(LakeConfig.local(tmp_path / "lake")) as opened:
        yield opened


@pytest.fixture
def postgres() -> Iterator[str]:
    """A fresh database, dropped afterwards; TRADEML_TEST_POSTGRES is the connection string of a server."""
    psycopg2 = pytest.importorskip("psycopg2", reason="psycopg2 is not installed (extra: scale)")
    given = os.environ.get("TRADEML_TEST_POSTGRES")
    candidates = (
        [given] if given else [f"host=localhost user={u} dbname=postgres" for u in ("postgres", "root")]
    )
    refusals = []
    for candidate in candidates:
        try:
            server = psycopg2.connect(candidate, connect_timeout=3)
        except psycopg2.OperationalError as error:
            refusals.append(str(error).strip())
        else:
            break
    else:
        pytest.skip(f"no PostgreSQL on localhost: {'; '.join(refusals)}")
    server.autocommit = True
    name = f"trademl_test_{uuid.uuid4().hex[:12]}"
    with server.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    try:
        yield psycopg2.extensions.make_dsn(candidate, dbname=name)
    finally:
        with server.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
        server.close()


@pytest.fixture
def bucket() -> Iterator[tuple[str, S3Config]]:
    """An s3:// path and the access to it, on a server in this process."""
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed (extra: scale)")
    server_module = pytest.importorskip("moto.server", reason="moto is not installed (extra: dev)")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        access = S3Config(endpoint=f"{host}:{port}", key_id="key", secret="not-a-secret", use_ssl=False)
        boto3.client(
            "s3",
            endpoint_url=f"http://{host}:{port}",
            region_name=access.region,
            aws_access_key_id=access.key_id,
            aws_secret_access_key=access.secret,
        ).create_bucket(Bucket="trademl")
        yield "s3://trademl/lake", access
    finally:
        server.stop()
