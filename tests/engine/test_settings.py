"""Settings: where each value comes from, and what is said of one that cannot be used."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from partitioned_etl.engine import settings
from partitioned_etl.engine.errors import SettingError
from partitioned_etl.engine.settings import Settings
from partitioned_etl.engine.settings_example import render_env_example

DEFAULTS = {name.upper(): str(field.default) for name, field in Settings.model_fields.items()}
"""Default of each setting, by its name in the environment."""


def read(given: Mapping[str, str]) -> Settings:
    """Read the settings in an environment that has some of them."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        return Settings()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder of this test only, which is not the working directory."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.setattr(settings, "project_dir", lambda: folder)
    monkeypatch.chdir(tmp_path)
    for name in DEFAULTS:
        monkeypatch.delenv(name, raising=False)
    return folder


def write_env(project: Path, text: str) -> None:
    (project / ".env").write_text(text, encoding="utf-8")


def test_without_any_setting_the_defaults_hold(project: Path) -> None:
    assert Settings().model_dump() == {
        "landing_dir": project / "data/source",
        "staging_dir": project / "data/staging/objects",
        "duckdb_database": project / "data/staging/partitioned_etl.duckdb",
        "warehouse": "",
        "archive_dir": project / "data/archive",
        "reports_dir": project / "data/reports",
        "sensor_interval_seconds": 10,
        "landing_notifications": "",
        "landing_notifications_token": "",
        "settle_seconds": 2.0,
        "max_files_per_run": 1000,
        "lock_wait_seconds": 60.0,
        "duckdb_memory_limit": "",
        "duckdb_read_copy": 0.0,
        "load_history_days": 90,
        "alert_urls": "",
        "definitions_module": "",
        "web_ui_url": "http://127.0.0.1:3000",
    }


def test_the_environment_beats_the_env_file_which_beats_the_default(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Settings().max_files_per_run == 1000
    write_env(project, "MAX_FILES_PER_RUN=20\nSETTLE_SECONDS=0.5\n")
    assert Settings().max_files_per_run == 20
    monkeypatch.setenv("MAX_FILES_PER_RUN", "30")
    assert Settings().max_files_per_run == 30
    assert Settings().settle_seconds == 0.5


def test_reading_settings_does_not_change_the_environment(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SETTLE_SECONDS", "3")
    write_env(project, "MAX_FILES_PER_RUN=20\nSETTLE_SECONDS=4\n")
    before = dict(os.environ)
    assert Settings().max_files_per_run == 20
    assert dict(os.environ) == before


def test_every_setting_can_be_set(project: Path) -> None:
    given = {
        "LANDING_DIR": "in",
        "STAGING_DIR": "staged",
        "DUCKDB_DATABASE": "/db/x.duckdb",
        "WAREHOUSE": "postgresql://etl@db.example/prices",
        "ARCHIVE_DIR": "copies",
        "REPORTS_DIR": "/pages",
        "SENSOR_INTERVAL_SECONDS": "7",
        "LANDING_NOTIFICATIONS": "hook:0.0.0.0:8099",
        "LANDING_NOTIFICATIONS_TOKEN": "a-token",
        "SETTLE_SECONDS": "0",
        "MAX_FILES_PER_RUN": "1",
        "LOCK_WAIT_SECONDS": "1.5",
        "DUCKDB_MEMORY_LIMIT": "1.5 GiB",
        "DUCKDB_READ_COPY": "30",
        "LOAD_HISTORY_DAYS": "30",
        "ALERT_URLS": "jsons://alerts.example/x mailto://a.example",
        "DEFINITIONS_MODULE": "elsewhere.definitions",
        "WEB_UI_URL": "https://dagster.example",
    }
    assert list(given) == list(DEFAULTS)
    assert read(given).model_dump() == {
        "landing_dir": project / "in",
        "staging_dir": project / "staged",
        "duckdb_database": Path("/db/x.duckdb"),
        "warehouse": "postgresql://etl@db.example/prices",
        "archive_dir": project / "copies",
        "reports_dir": Path("/pages"),
        "sensor_interval_seconds": 7,
        "landing_notifications": "hook:0.0.0.0:8099",
        "landing_notifications_token": "a-token",
        "settle_seconds": 0.0,
        "max_files_per_run": 1,
        "lock_wait_seconds": 1.5,
        "duckdb_memory_limit": "1.5 GiB",
        "duckdb_read_copy": 30.0,
        "load_history_days": 30,
        "alert_urls": "jsons://alerts.example/x mailto://a.example",
        "definitions_module": "elsewhere.definitions",
        "web_ui_url": "https://dagster.example",
    }


@pytest.mark.parametrize("name", DEFAULTS)
def test_an_empty_setting_means_its_default(project: Path, name: str) -> None:
    assert read({name: ""}) == read({})
    write_env(project, f"{name}=\n")
    assert read({}) == read({name: DEFAULTS[name]})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SENSOR_INTERVAL_SECONDS", "0"),
        ("SENSOR_INTERVAL_SECONDS", "1.5"),
        ("SETTLE_SECONDS", "-1"),
        ("SETTLE_SECONDS", "nan"),
        ("SETTLE_SECONDS", "inf"),
        ("MAX_FILES_PER_RUN", "0"),
        ("MAX_FILES_PER_RUN", "-5"),
        ("MAX_FILES_PER_RUN", "many"),
        ("LOCK_WAIT_SECONDS", "a minute"),
        ("DUCKDB_MEMORY_LIMIT", "much"),
        ("DUCKDB_READ_COPY", "-1"),
        ("DUCKDB_READ_COPY", "yes"),
        ("LOAD_HISTORY_DAYS", "0"),
        ("DUCKDB_MEMORY_LIMIT", "1GB'"),
        ("WEB_UI_URL", "dagster.example"),
        ("LANDING_NOTIFICATIONS", "8099"),
        ("LANDING_NOTIFICATIONS", "sqs:landing"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(project: Path, name: str, value: str) -> None:
    with pytest.raises(SettingError, match=rf"^setting {name}: "):
        read({name: value})
    write_env(project, f"{name}={value}\n")
    with pytest.raises(SettingError, match=name):
        read({})


def test_an_env_file_that_cannot_be_read_is_named(project: Path) -> None:
    (project / ".env").write_bytes("LANDING_DIR=/übung".encode("latin-1"))
    with pytest.raises(SettingError, match=r"\.env cannot be read: .*utf-8"):
        read({})


def test_spaces_around_a_value_do_not_count(project: Path) -> None:
    assert read({"MAX_FILES_PER_RUN": " 5 ", "LANDING_DIR": " in "}) == read(
        {"MAX_FILES_PER_RUN": "5", "LANDING_DIR": "in"}
    )
    assert project / "in" == read({"LANDING_DIR": " in "}).landing_dir


def test_a_relative_path_is_relative_to_the_project_whatever_the_working_directory(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"LANDING_DIR": "in", "DUCKDB_DATABASE": "../out/x.duckdb"}
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        found = read(given)
        assert found.landing_dir == project / "in"
        assert found.duckdb_database == project / "../out/x.duckdb"


def test_an_absolute_path_stays_and_a_tilde_is_the_home(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    found = read({"LANDING_DIR": str(tmp_path), "DUCKDB_DATABASE": "~/x.duckdb"})
    assert found.landing_dir == tmp_path
    assert found.duckdb_database == tmp_path / "home/x.duckdb"
    assert project not in found.duckdb_database.parents


def test_the_env_file_of_the_working_directory_does_not_count(
    project: Path, tmp_path: Path
) -> None:
    write_env(tmp_path, "MAX_FILES_PER_RUN=20")
    assert Settings().max_files_per_run == 1000
    assert not (project / ".env").exists()


def test_the_example_file_names_every_setting_with_its_default() -> None:
    text = render_env_example()
    assert re.findall(r"^# ([A-Z_]+)=(.*)$", text, re.MULTILINE) == list(DEFAULTS.items())


def test_the_database_is_the_warehouse_that_is_set_or_the_duckdb_file(project: Path) -> None:
    assert read({"DUCKDB_DATABASE": "a.duckdb"}).database == project / "a.duckdb"
    assert read({"WAREHOUSE": "duckdb:b.duckdb"}).database == project / "b.duckdb"
    assert read({"WAREHOUSE": "duckdb:/db/b.duckdb"}).database == Path("/db/b.duckdb")
    address = "postgresql://etl@db.example/prices"
    assert read({"WAREHOUSE": address, "DUCKDB_DATABASE": "a.duckdb"}).database == address


def test_a_wrong_warehouse_is_refused_without_its_password(project: Path) -> None:
    with pytest.raises(SettingError) as failed:
        read({"WAREHOUSE": "mysql://etl:secret@db.example/prices"})
    assert (
        str(failed.value)
        == "setting WAREHOUSE: must begin with postgresql://, ducklake:postgres: or duckdb:"
    )


def test_a_password_is_not_shown_with_the_settings(project: Path) -> None:
    assert "secret" not in repr(read({"WAREHOUSE": "postgresql://etl:secret@db.example/prices"}))


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "hooks.internal"])
def test_a_port_that_others_reach_needs_a_token(project: Path, host: str) -> None:
    address = {"LANDING_NOTIFICATIONS": f"hook:{host}:8099"}
    with pytest.raises(SettingError, match=r"^setting LANDING_NOTIFICATIONS_TOKEN: must not be"):
        read(address)
    settings = read(address | {"LANDING_NOTIFICATIONS_TOKEN": "a-secret"})
    assert "a-secret" not in repr(settings)
    for own in ("hook:127.0.0.1:8099", "hook:[::1]:8099", "sqs:https://sqs.example/1/landing"):
        assert read({"LANDING_NOTIFICATIONS": own}).landing_notifications_token == ""
