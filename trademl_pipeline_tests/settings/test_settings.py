"""Values of four layers, each with its origin."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from trademl_pipeline import settings
from trademl_pipeline.portfolio.costs import Costs
from trademl_pipeline.portfolio.long_short import LongShortConfig
from trademl_pipeline.settings import ROOT, SettingsError, files, keys, model, names


def write(home: Path, text: str) -> Path:
    file = home / settings.FILE
    file.write_text(text)
    return file


def test_flags_go_before_variables_before_the_file_before_defaults(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    said = settings.load(home)
    assert (said.training.size, str(settings.origin("training.size", said))) == ("", "default")
    file = write(home, "# mine\ntraining:\n  size: a\n  threads: 3\n")
    said = settings.load(home)
    assert (said.training.size, str(settings.origin("training.size", said))) == ("a", f"file {file}:3")
    monkeypatch.setenv("TRADEML_TRAINING__SIZE", "b")
    said = settings.load(home)
    assert said.training.size == "b"
    assert str(settings.origin("training.size", said)) == "environment TRADEML_TRAINING__SIZE"
    said = settings.load(home, {"training.size": "c", "training.epochs": None})
    assert (said.training.size, str(settings.origin("training.size", said))) == ("c", "flag --size")
    assert said.training.threads == 3, "what a stronger layer does not say, a weaker one does"
    assert settings.origin("training.epochs", said).kind == "default"


def test_the_current_settings_follow_the_environment_and_the_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    first = settings.current()
    assert first.home == home
    assert settings.current() is first
    monkeypatch.setenv("TRADEML_DATA__CALENDAR", "XLON")
    assert settings.current().calendar == "XLON"
    monkeypatch.delenv("TRADEML_DATA__CALENDAR")
    assert settings.current().calendar == "XNYS"
    write(home, "data:\n  calendar: 24/7\n")
    assert settings.current().calendar == "24/7"
    write(home, "data:\n  calendar: XTKS\n")
    assert settings.current().calendar == "XTKS"


def test_without_a_folder_it_is_the_demos():
    assert settings.current().home == ROOT / "data" / "simulated"


def test_settings_do_not_change(home: Path):
    said = settings.load(home)
    with pytest.raises(ValidationError, match="frozen"):
        said.training.size = "base"  # pyright: ignore
    with pytest.raises(ValidationError, match="frozen"):
        said.training = model.Training(size="base")  # pyright: ignore


@pytest.mark.parametrize(("variable", "key"), names.OLD_VARIABLES.items())
def test_a_variable_of_an_earlier_version_still_works_and_names_its_key(
    variable: str, key: str, home: Path, monkeypatch: pytest.MonkeyPatch
):
    given = {
        "data.source": "yahoo",
        "data.columns": '{"close": "Close"}',
        "data.start": "2015-01-01",
        "references.index_weighting": "equal",
        "quality.rules": '{"missing_sessions": "ERROR"}',
        "ingest.revisions": "latest",
        "ingest.fetch": "missing",
        "ingest.delay_minutes": "15",
        "vendors.alpaca_feed": "sip",
        "lake.retries": "3",
        "s3.use_ssl": "false",
        "s3.url_style": "path",
        "training.refit": "quarter",
        "training.threads": "2",
    }.get(key, "/some/where")
    monkeypatch.setenv(variable, given)
    section, name = key.split(".")
    with pytest.warns(
        FutureWarning, match=rf"{variable} still works, but is now `{name}` under `{section}`"
    ) as told:
        said = settings.load(home)
    assert len(told) == 1
    assert said.value(key) != dict(model.fields())[key].get_default(call_default_factory=True)
    assert str(settings.origin(key, said)) == f"environment {variable}"
    assert settings.load(home).value(key) == said.value(key), "and warns but once"
    monkeypatch.setenv(names.variable(key), given.replace("/some", "/other"))
    assert settings.origin(key, settings.load(home)).where == names.variable(key)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (
            {"TRADEML_TRAINING__SIEZ": "base"},
            ["TRADEML_TRAINING__SIEZ", "did you mean TRADEML_TRAINING__SIZE"],
        ),
        ({"TRADEML_DATA__COLUMNS": "{"}, ["TRADEML_DATA__COLUMNS", "not JSON"]),
        ({"TRADEML_LAKE__RETRIES": "many"}, ["TRADEML_LAKE__RETRIES: lake.retries 'many'"]),
        ({"TRADEML_LAKE__RETRIES": "0"}, ["greater than or equal to 1"]),
        ({"TRADEML_S3__USE_SSL": "perhaps"}, ["TRADEML_S3__USE_SSL", "'perhaps'"]),
        ({"TRADEML_SOURCE": "nasdaq"}, ["TRADEML_SOURCE", "'nasdaq'", "'simulated', 'files'"]),
        ({"TRADEML_DATA__START": "2015"}, ["TRADEML_DATA__START", "not a month", "YYYY-MM"]),
        ({"TRADEML_COSTS__PARTICIPATION": "2"}, ["costs.participation", "less than or equal to 1"]),
        ({"TRADEML_REFIT": "week"}, ["TRADEML_REFIT", "'week'", "'quarter'"]),
    ],
)
def test_a_variable_that_cannot_be_understood_is_named(
    variables: dict[str, str], words: list[str], home: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        settings.load(home)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["trademl.yaml is empty"]),
        ("# only a comment\n", ["trademl.yaml is empty"]),
        ("data:\n  source: [\n", ["trademl.yaml:", "no YAML"]),
        ("data:\n\tsource: files\n", ["trademl.yaml:2", "no YAML"]),
        ("- a list\n", ["trademl.yaml:1", "sections"]),
        ("data:\n  sorce: files\n", ["trademl.yaml:2", "no setting data.sorce", "did you mean data.source"]),
        ("dat:\n  source: files\n", ["trademl.yaml:2", "did you mean data.source"]),
        ("trainning:\n", ["trademl.yaml:1", "did you mean training"]),
        ("size: base\n", ["trademl.yaml:1", "no setting size"]),
        ("training: base\n", ["trademl.yaml:1", "training is a section"]),
        ("\n\ntraining:\n  threads: two\n", ["trademl.yaml:4", "training.threads 'two'"]),
        ("training:\n  size: a\n  size: b\n", ["trademl.yaml:3", "twice"]),
        ("data:\n  symbols: [AAPL, ON]\n", ["trademl.yaml:2", 'such as "ON" in quotes']),
        ("data:\n  symbols: -3\n", ["trademl.yaml:2", "data.symbols", "one at least"]),
        ("data:\n  symbols: 0\n", ["trademl.yaml:2", "data.symbols", "one at least"]),
        ("data:\n  start: soon\n", ["trademl.yaml:2", "'soon' is not a month"]),
        ("s3:\n  secret: hush\n", ["trademl.yaml:2", "s3.secret is a secret", "TRADEML_S3_SECRET"]),
        ("alerts:\n  webhook: https://x/hush\n", ["trademl.yaml:2", "TRADEML_ALERT_WEBHOOK"]),
        ("lake:\n  catalog: 'postgres:host=db password=hush'\n", ["trademl.yaml:2", "TRADEML_LAKE__CATALOG"]),
        ("tracking:\n  uri: https://u:hush@mlflow\n", ["trademl.yaml:2", "TRADEML_TRACKING__URI"]),
    ],
)
def test_a_file_that_cannot_be_understood_is_an_error_and_never_a_default(
    text: str, words: list[str], home: Path
):
    write(home, text)
    with pytest.raises(SettingsError) as caught:
        settings.load(home)
    assert "\n" not in str(caught.value)
    assert "hush" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_months_and_symbols_are_written_as_one_would(home: Path):
    write(home, "data:\n  start: 2015-01\n  end: 2016-02-01\n  symbols: [AAPL, 'ON']\n")
    said = settings.load(home)
    assert (said.data.start, said.data.end, said.data.symbols) == ("2015-01-01", "2016-02-01", "AAPL,ON")
    write(home, "data:\n  symbols: 20\nquality:\n  rules:\n    missing_sessions: ERROR\n")
    said = settings.load(home)
    assert (said.data.symbols, said.quality.rules) == ("20", {"missing_sessions": "ERROR"})


def test_paths_are_seen_from_the_file_and_from_where_one_types(
    home: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    here = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(here)
    (here / "mine.csv").write_text("symbol\nAAPL\n")
    write(home, "data:\n  source: files\n  path: bars.parquet\n")
    said = settings.load(
        home, {"references.index_universe": "mine.csv", "quality.crosscheck": Path("other.csv")}
    )
    assert said.data.path == str(home / "bars.parquet")
    assert said.references.index_universe == str(here / "mine.csv")
    assert said.quality.crosscheck == str(here / "other.csv")
    assert settings.load(home, {"references.index_universe": "SP500"}).references.index_universe == "SP500"


@pytest.mark.parametrize(
    ("variables", "flags", "words"),
    [
        ({"TRADEML_CALENDAR": "XLON"}, {}, ["made on the calendar 24/7, but TRADEML_CALENDAR is XLON"]),
        (
            {"TRADEML_DATA__SOURCE": "yahoo"},
            {},
            ["made with bars of source files", "TRADEML_DATA__SOURCE is yahoo"],
        ),
        ({"TRADEML_DATA__PATH": "/b.csv"}, {}, ["made with the bars in /a.csv", "is /b.csv"]),
        ({}, {"data.path": "/b.csv"}, ["--data is /b.csv", "another --home"]),
        ({}, {"data.symbols": "20"}, ["made without data.symbols, but --symbols is 20"]),
        ({}, {"universe.name": "MAG7"}, ["made with universe.name TIER_1, but --universe is MAG7"]),
    ],
)
def test_what_a_folder_was_made_with_is_not_contradicted(
    variables: dict[str, str],
    flags: dict[str, str],
    words: list[str],
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    write(home, "data:\n  source: files\n  path: /a.csv\n  calendar: 24/7\nuniverse:\n  name: TIER_1\n")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        settings.load(home, flags)
    for word in [str(home), *words]:
        assert word in str(caught.value)


def test_the_same_words_again_are_no_contradiction(home: Path, monkeypatch: pytest.MonkeyPatch):
    write(home, "data:\n  source: files\n  path: /a.csv\n  columns: {close: Close}\n  symbols: [A, B]\n")
    monkeypatch.setenv("TRADEML_DATA__PATH", "/a.csv")
    said = settings.load(home, {"data.columns": {"close": "Close"}, "data.symbols": "A,B"})
    assert said.data.symbols == "A,B"


def test_secrets_come_from_the_environment_and_are_never_shown(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("APCA_API_SECRET_KEY", "hush")
    monkeypatch.setenv("TRADEML_ALERT_WEBHOOK", "https://hooks/hush")
    monkeypatch.setenv("TRADEML_LAKE__CATALOG", "postgres:host=db password=hush dbname=x")
    monkeypatch.setenv("TRADEML_TRACKING__URI", "https://u:hush@mlflow/x")
    said = settings.load(home)
    assert said.vendors.alpaca_secret.get_secret_value() == "hush"
    assert said.lake.catalog.endswith("password=hush dbname=x")
    shown = {key: said.shown(key) for key in keys()}
    assert shown["vendors.alpaca_secret"] == shown["alerts.webhook"] == "***"
    assert shown["lake.catalog"] == "postgres:host=db password=*** dbname=x"
    assert shown["tracking.uri"] == "https://u:***@mlflow/x"
    assert "hush" not in json.dumps(shown) + repr(said)


def test_every_value_is_described_and_every_secret_has_its_variable():
    for key, field in model.fields():
        assert field.description, key
    assert set(names.SECRET_VARIABLES.values()) == model.secret_keys()
    assert {f.annotation for k, f in model.fields() if k in model.secret_keys()} == {SecretStr}
    assert set(names.OLD_VARIABLES.values()) <= set(keys())


def test_the_environment_of_other_processes_says_the_folder_and_what_was_typed(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    write(home, "training:\n  size: a\n  threads: 3\nuniverse:\n  name: MAG7\n")
    monkeypatch.setenv("TRADEML_MEMBERSHIP", "/spells.csv")
    monkeypatch.setenv("APCA_API_KEY_ID", "key")
    monkeypatch.setenv("TRADEML_HOME", "/elsewhere")
    with pytest.warns(FutureWarning, match="TRADEML_MEMBERSHIP"):
        said = settings.load(
            home,
            {
                "training.size": "b",
                "universe.name": "MAG7",
                "data.columns": {"close": "Close"},
                "s3.use_ssl": False,
            },
        )
    found = settings.environment(said)
    ours = {k: v for k, v in found.items() if k.startswith(("TRADEML_", "APCA_"))}
    assert ours == {
        "TRADEML_HOME": str(home),
        "TRADEML_TRAINING__SIZE": "b",
        "TRADEML_DATA__COLUMNS": '{"close": "Close"}',
        "TRADEML_S3__USE_SSL": "false",
        "TRADEML_UNIVERSE__MEMBERSHIP": "/spells.csv",
        "APCA_API_KEY_ID": "key",
    }
    assert found["DAGSTER_HOME"] == str(home / "dagster")
    assert found["PATH"] == os.environ["PATH"]
    again = settings.load(environ=found)
    assert {k: again.value(k) for k in keys()} == {k: said.value(k) for k in keys()}


def test_costs_are_those_that_reports_have_always_had():
    said, costs = model.Costs(), LongShortConfig().costs
    assert costs == Costs(said.commission, said.slippage, said.participation)


def test_nothing_heavy_is_loaded():
    code = (
        "import sys\n"
        "from trademl_pipeline import settings\n"
        "settings.load()\n"
        "heavy = {'polars', 'numpy', 'dagster', 'exchange_calendars', 'mlflow', 'torch'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "HEAVY []" in found.stdout


def test_a_key_that_there_is_not_is_named(home: Path):
    with pytest.raises(SettingsError, match=r"no setting training\.sise; did you mean training\.size"):
        settings.origin("training.sise")
    with pytest.raises(SettingsError, match=r"a flag: there is no setting"):
        settings.load(home, {"nothing.at_all": 1})


def test_a_file_is_written_once_and_holds_no_default(home: Path):
    file = home / settings.FILE
    values = {"data.source": "files", "data.path": "/a.csv", "data.symbols": "", "data.start": "2015-01-01"}
    assert files.write(file, values)
    assert not files.write(file, {"data.source": "yahoo"})
    text = file.read_text()
    assert "symbols" not in text
    assert text.startswith("# A data set of trademl")
    said = settings.load(home)
    assert (said.data.source, said.data.path, said.data.start) == ("files", "/a.csv", "2015-01-01")
    assert [p.name for p in home.iterdir()] == [settings.FILE]


def test_no_password_is_ever_written(home: Path):
    with pytest.raises(SettingsError, match="holds a password"):
        files.write(home / settings.FILE, {"tracking.uri": "https://u:hush@x"})
    assert not (home / settings.FILE).exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("data:\n  source: files # mine\n", "data:\n  source: files # mine\n  end: 2015-07ABOUT\n"),
        (
            "data:\n    start: 2013-01\n    symbols: A\n",
            "data:\n    start: 2013-01\n    end: 2015-07ABOUT\n    symbols: A\n",
        ),
        ("data:\n  end: 2014-01 # last\n", "data:\n  end: 2015-07 # last\n"),
        ("data:\n  end:\n  source: files\n", "data:\n  end: 2015-07\n  source: files\n"),
        ("data: {source: files}\n", "data: {end: 2015-07, source: files}\n"),
        ("training:\n  size: a\n", "training:\n  size: a\n\ndata:\n  end: 2015-07ABOUT\n"),
        (
            "data:\n  columns:\n    close: Close\n",
            "data:\n  end: 2015-07ABOUT\n  columns:\n    close: Close\n",
        ),
        ("data:\n  source: files", "data:\n  source: files\n  end: 2015-07ABOUT"),
    ],
)
def test_a_value_is_changed_and_everything_else_stays(before: str, after: str, home: Path):
    # What is new is described, as everything in a new file is.
    file, after = write(home, before), after.replace("ABOUT", f"  # {model.describe('data.end')}")
    files.edit(file, "data.end", "2015-07-01")
    assert file.read_text() == after
    assert settings.load(home).data.end == "2015-07-01"
    files.edit(file, "data.end", "2015-07-01")
    assert file.read_text() == after


def test_the_documentation_lists_every_key_with_its_default():
    rows = {
        line.split("`")[1]: line.split("|")[3].strip().strip("`")
        for line in (ROOT / "docs" / "architecture.md").read_text().splitlines()
        if line.startswith("| `") and "." in line.split("`")[1] and "`" in line
    }
    for key, field in model.fields():
        if key in model.secret_keys():
            assert key not in rows
            continue
        default = field.get_default(call_default_factory=True)
        assert rows[key].lower() == ("" if default in ("", {}) else str(default).lower()), key
