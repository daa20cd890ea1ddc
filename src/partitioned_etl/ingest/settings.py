"""Settings: what can be set from outside, by environment variable or `.env` file.

Returns one `Settings` value, the same for UI, command line, tests and run workers, whatever the
working directory. Values specific to one feed do not belong here, but in its `Feed`.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TypeVar

from dotenv import dotenv_values

from partitioned_etl.ingest.errors import SettingError

Value = TypeVar("Value")

DEFAULTS: dict[str, str] = {
    "LANDING_DIR": "data/source",
    "DUCKDB_DATABASE": "data/staging/partitioned_etl.duckdb",
    "ARCHIVE_DIR": "data/archive",
    "REPORTS_DIR": "data/reports",
    "DAILY_START_DATE": "2018-01-21",
    "DAILY_END_DATE": "2018-01-24",
    "MONTHLY_START_DATE": "2018-01-01",
    "SENSOR_INTERVAL_SECONDS": "10",
    "SETTLE_SECONDS": "2",
    "MAX_FILES_PER_RUN": "1000",
    "LOCK_WAIT_SECONDS": "60",
    "DUCKDB_MEMORY_LIMIT": "",
    "ALERT_WEBHOOK_URL": "",
    "ALERT_EMAIL_TO": "",
    "ALERT_EMAIL_FROM": "partitioned-etl@localhost",
    "ALERT_SMTP_SERVER": "localhost:25",
    "WEB_UI_URL": "http://127.0.0.1:3000",
}


@dataclass(frozen=True)
class Settings:
    """All settings, read and validated.

    Attributes:
        landing_dir: Folder with one folder per feed.
        database: The DuckDB database file.
        archive_dir: Folder for compressed copies of partitions, with one folder per feed.
        reports_dir: Folder for the generated pages.
        daily_start_date: First day for which the daily feed has a partition.
        daily_end_date: First day for which it no longer has one, as in Dagster; None for no end.
        monthly_start_date: First month for which the monthly feed has a partition.
        sensor_interval_seconds: Minimum time between two ticks of a landing sensor.
        settle_seconds: How long a file must be unchanged before it is loaded.
        max_files_per_run: Most files that one run loads and that one tick requests.
        lock_wait_seconds: How long a load waits for another process that has the database open.
        memory_limit: How much memory DuckDB may use, such as `1GB`; empty for DuckDB's default.
        alert_webhook_url: URL to which alerts are posted as JSON; empty for none.
        alert_email_to: Recipients of alerts by e-mail, separated by commas; empty for none.
        alert_email_from: Sender of these e-mails.
        alert_smtp_server: Host and port of a server that accepts them without a password.
        web_ui_url: Address of the web UI, for the links in alerts.
    """

    landing_dir: Path
    database: Path
    archive_dir: Path
    reports_dir: Path
    daily_start_date: date
    daily_end_date: date | None
    monthly_start_date: date
    sensor_interval_seconds: int
    settle_seconds: float
    max_files_per_run: int
    lock_wait_seconds: float
    memory_limit: str
    alert_webhook_url: str
    alert_email_to: str
    alert_email_from: str
    alert_smtp_server: str
    web_ui_url: str


def project_dir() -> Path:
    """Return the folder that relative paths in settings, and `.env`, are relative to.

    This is the checkout that the package runs from, or the process's working directory if the
    package was installed without a checkout.
    """
    checkout = Path(__file__).resolve().parents[3]
    is_checkout = (checkout / "pyproject.toml").is_file() and (
        checkout / "workspace.yaml"
    ).is_file()
    return checkout if is_checkout else Path.cwd()


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings: environment first, then the project's `.env`, then the defaults.

    Args:
        environment: Used instead of the process's environment.

    Raises:
        SettingError: `.env` cannot be read, or a value is invalid; the message names it.
    """
    folder = project_dir()
    given = dict(os.environ if environment is None else environment)
    try:
        in_file = dotenv_values(folder / ".env", encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise SettingError(f"{folder / '.env'} cannot be read: {error}") from None
    values = {**DEFAULTS, **in_file, **given}
    values = {name: (text or "").strip() for name, text in values.items()}

    def read(name: str, convert: Callable[[str], Value]) -> Value:
        try:
            return convert(values[name] or DEFAULTS[name])
        except (ValueError, RuntimeError) as error:
            raise SettingError(f"setting {name}: {error}") from None

    def path(text: str) -> Path:
        return folder / Path(text).expanduser()

    no_daily_end = "DAILY_END_DATE" in values and not values["DAILY_END_DATE"]
    return Settings(
        landing_dir=read("LANDING_DIR", path),
        database=read("DUCKDB_DATABASE", path),
        archive_dir=read("ARCHIVE_DIR", path),
        reports_dir=read("REPORTS_DIR", path),
        daily_start_date=read("DAILY_START_DATE", date.fromisoformat),
        daily_end_date=None if no_daily_end else read("DAILY_END_DATE", date.fromisoformat),
        monthly_start_date=read("MONTHLY_START_DATE", date.fromisoformat),
        sensor_interval_seconds=read("SENSOR_INTERVAL_SECONDS", _whole_number),
        settle_seconds=read("SETTLE_SECONDS", _seconds),
        max_files_per_run=read("MAX_FILES_PER_RUN", _whole_number),
        lock_wait_seconds=read("LOCK_WAIT_SECONDS", _seconds),
        memory_limit=read("DUCKDB_MEMORY_LIMIT", _memory_size),
        alert_webhook_url=read("ALERT_WEBHOOK_URL", _web_address),
        alert_email_to=read("ALERT_EMAIL_TO", str),
        alert_email_from=read("ALERT_EMAIL_FROM", str),
        alert_smtp_server=read("ALERT_SMTP_SERVER", str),
        web_ui_url=read("WEB_UI_URL", _web_address),
    )


def _whole_number(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(f"must be at least 1: {text}")
    return number


def _web_address(text: str) -> str:
    if text and not text.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    return text


def _seconds(text: str) -> float:
    if not 0 <= (seconds := float(text)) < float("inf"):
        raise ValueError(f"must be a number of seconds: {text}")
    return seconds


def _memory_size(text: str) -> str:
    if text and not re.fullmatch(r"\d+(\.\d+)? ?[KMGT]i?B", text, re.ASCII):
        raise ValueError(f"must be a size such as 1GB or 512MiB: {text}")
    return text
