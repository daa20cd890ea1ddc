"""Settings: where each value comes from, and what is said of one that cannot be used."""

import re
from datetime import date
from pathlib import Path

import pytest

from partitioned_etl.ingest import settings
from partitioned_etl.ingest.errors import SettingError
from partitioned_etl.ingest.settings import DEFAULTS, Settings, project_dir, read_settings


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
    assert read_settings() == Settings(
        landing_dir=project / "data/source",
        database=project / "data/staging/partitioned_etl.duckdb",
        archive_dir=project / "data/archive",
        reports_dir=project / "data/reports",
        daily_start_date=date(2018, 1, 21),
        daily_end_date=date(2018, 1, 24),
        monthly_start_date=date(2018, 1, 1),
        sensor_interval_seconds=10,
        settle_seconds=2.0,
        max_files_per_run=1000,
        lock_wait_seconds=60.0,
        memory_limit="",
        alert_webhook_url="",
        alert_email_to="",
        alert_email_from="partitioned-etl@localhost",
        alert_smtp_server="localhost:25",
        web_ui_url="http://127.0.0.1:3000",
    )


def test_the_environment_beats_the_env_file_which_beats_the_default(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_settings().max_files_per_run == 1000
    write_env(project, "MAX_FILES_PER_RUN=20\nSETTLE_SECONDS=0.5\n")
    assert read_settings().max_files_per_run == 20
    monkeypatch.setenv("MAX_FILES_PER_RUN", "30")
    assert read_settings().max_files_per_run == 30
    assert read_settings().settle_seconds == 0.5


def test_an_environment_that_is_given_replaces_that_of_the_process(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_FILES_PER_RUN", "30")
    assert read_settings({}).max_files_per_run == 1000
    write_env(project, "MAX_FILES_PER_RUN=20")
    assert read_settings({}).max_files_per_run == 20
    assert read_settings({"MAX_FILES_PER_RUN": "40"}).max_files_per_run == 40


def test_reading_settings_does_not_change_the_environment(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SETTLE_SECONDS", "3")
    write_env(project, "MAX_FILES_PER_RUN=20\nSETTLE_SECONDS=4\n")
    before = dict(settings.os.environ)
    read_settings()
    assert dict(settings.os.environ) == before


def test_every_setting_can_be_set(project: Path) -> None:
    given = {
        "LANDING_DIR": "in",
        "DUCKDB_DATABASE": "/db/x.duckdb",
        "ARCHIVE_DIR": "copies",
        "REPORTS_DIR": "/pages",
        "DAILY_START_DATE": "2020-02-03",
        "DAILY_END_DATE": "2020-03-04",
        "MONTHLY_START_DATE": "2020-04-01",
        "SENSOR_INTERVAL_SECONDS": "7",
        "SETTLE_SECONDS": "0",
        "MAX_FILES_PER_RUN": "1",
        "LOCK_WAIT_SECONDS": "1.5",
        "DUCKDB_MEMORY_LIMIT": "1.5 GiB",
        "ALERT_WEBHOOK_URL": "https://alerts.example/x",
        "ALERT_EMAIL_TO": "a@example.com, b@example.com",
        "ALERT_EMAIL_FROM": "c@example.com",
        "ALERT_SMTP_SERVER": "mail.example:2525",
        "WEB_UI_URL": "https://dagster.example",
    }
    assert list(given) == list(DEFAULTS)
    assert read_settings(given) == Settings(
        landing_dir=project / "in",
        database=Path("/db/x.duckdb"),
        archive_dir=project / "copies",
        reports_dir=Path("/pages"),
        daily_start_date=date(2020, 2, 3),
        daily_end_date=date(2020, 3, 4),
        monthly_start_date=date(2020, 4, 1),
        sensor_interval_seconds=7,
        settle_seconds=0.0,
        max_files_per_run=1,
        lock_wait_seconds=1.5,
        memory_limit="1.5 GiB",
        alert_webhook_url="https://alerts.example/x",
        alert_email_to="a@example.com, b@example.com",
        alert_email_from="c@example.com",
        alert_smtp_server="mail.example:2525",
        web_ui_url="https://dagster.example",
    )


@pytest.mark.parametrize("line", ["DAILY_END_DATE=", "DAILY_END_DATE=''", "DAILY_END_DATE"])
def test_an_empty_end_date_means_no_end(project: Path, line: str) -> None:
    assert read_settings({"DAILY_END_DATE": ""}).daily_end_date is None
    write_env(project, line)
    assert read_settings({}).daily_end_date is None
    assert read_settings({"DAILY_END_DATE": "2020-01-01"}).daily_end_date == date(2020, 1, 1)


def test_an_empty_end_date_in_the_environment_beats_the_env_file(project: Path) -> None:
    write_env(project, "DAILY_END_DATE=2020-01-01")
    assert read_settings({"DAILY_END_DATE": ""}).daily_end_date is None


@pytest.mark.parametrize("name", [name for name in DEFAULTS if name != "DAILY_END_DATE"])
def test_any_other_empty_setting_means_its_default(project: Path, name: str) -> None:
    assert read_settings({name: ""}) == read_settings({})
    write_env(project, f"{name}=\n")
    assert read_settings({}) == read_settings({name: DEFAULTS[name]})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DAILY_START_DATE", "yesterday"),
        ("DAILY_START_DATE", "2018-02-30"),
        ("DAILY_END_DATE", "24.01.2018"),
        ("MONTHLY_START_DATE", "2018-01"),
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
        ("DUCKDB_MEMORY_LIMIT", "1GB'"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(project: Path, name: str, value: str) -> None:
    with pytest.raises(SettingError, match=rf"^setting {name}: "):
        read_settings({name: value})
    write_env(project, f"{name}={value}\n")
    with pytest.raises(SettingError, match=name):
        read_settings({})


def test_an_env_file_that_cannot_be_read_is_named(project: Path) -> None:
    (project / ".env").write_bytes("LANDING_DIR=/übung".encode("latin-1"))
    with pytest.raises(SettingError, match=r"\.env cannot be read: .*utf-8"):
        read_settings({})


def test_spaces_around_a_value_do_not_count(project: Path) -> None:
    assert read_settings({"MAX_FILES_PER_RUN": " 5 ", "LANDING_DIR": " in "}) == read_settings(
        {"MAX_FILES_PER_RUN": "5", "LANDING_DIR": "in"}
    )
    assert project / "in" == read_settings({"LANDING_DIR": " in "}).landing_dir


def test_a_relative_path_is_relative_to_the_project_whatever_the_working_directory(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"LANDING_DIR": "in", "DUCKDB_DATABASE": "../out/x.duckdb"}
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        read = read_settings(given)
        assert read.landing_dir == project / "in"
        assert read.database == project / "../out/x.duckdb"


def test_an_absolute_path_stays_and_a_tilde_is_the_home(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    read = read_settings({"LANDING_DIR": str(tmp_path), "DUCKDB_DATABASE": "~/x.duckdb"})
    assert read.landing_dir == tmp_path
    assert read.database == tmp_path / "home/x.duckdb"
    assert project not in read.database.parents


def test_the_env_file_of_the_working_directory_does_not_count(
    project: Path, tmp_path: Path
) -> None:
    write_env(tmp_path, "MAX_FILES_PER_RUN=20")
    assert read_settings().max_files_per_run == 1000
    assert not (project / ".env").exists()


def test_the_checkout_is_the_project_whatever_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "checkout"
    package = checkout / "src/partitioned_etl/ingest"
    package.mkdir(parents=True)
    for name in ("pyproject.toml", "workspace.yaml"):
        (checkout / name).touch()
    monkeypatch.setattr(settings, "__file__", str(package / "settings.py"))
    monkeypatch.chdir(tmp_path)
    assert project_dir() == checkout


@pytest.mark.parametrize("present", [[], ["pyproject.toml"], ["workspace.yaml"]])
def test_without_a_checkout_the_project_is_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, present: list[str]
) -> None:
    package = tmp_path / "env/lib/site-packages/partitioned_etl/ingest"
    package.mkdir(parents=True)
    for name in present:
        (tmp_path / "env/lib" / name).touch()
    monkeypatch.setattr(settings, "__file__", str(package / "settings.py"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert project_dir() == tmp_path / "elsewhere"


def test_the_example_file_names_every_setting_with_its_default() -> None:
    example = Path(__file__).parents[2] / ".env.example"
    text = example.read_text(encoding="utf-8")
    assert re.findall(r"^# ([A-Z_]+)=(.*)$", text, re.MULTILINE) == list(DEFAULTS.items())
