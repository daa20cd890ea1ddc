"""Settings: what can be set from outside, by environment variable or `.env` file.

One `Settings` value is the same for UI, command line, tests and run workers of a project. Values
specific to one feed do not belong here, but in its `Feed`.
"""

import re
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    FiniteFloat,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from partitioned_etl.engine.errors import SettingError
from partitioned_etl.engine.landing_address import parse_address
from partitioned_etl.engine.notification_address import (
    HookAddress,
    parse_notification_address,
)
from partitioned_etl.engine.project import project_dir
from partitioned_etl.engine.warehouse.registry import has_one_writer, is_address


def _to_memory_size(text: str) -> str:
    if text and not re.fullmatch(r"\d+(\.\d+)? ?[KMGT]i?B", text, re.ASCII):
        raise ValueError(f"must be a size such as 1GB or 512MiB: {text}")
    return text


def _to_warehouse_address(text: str) -> str:
    if text and not is_address(text):
        raise ValueError("must begin with postgresql://, ducklake:postgres: or duckdb:")
    return text


def _to_notification_address(text: str) -> str:
    if text:
        parse_notification_address(text)
    return text


def _to_web_address(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    return text


def _from_project(path: Path) -> Path:
    try:
        return project_dir() / path.expanduser()
    except RuntimeError as error:
        raise ValueError(str(error)) from None


def to_landing_address(text: Path | str) -> Path | str:
    """Return where a landing is: a path, from the project on if it is relative, or a URL.

    Raises:
        ValueError: It can be neither.
    """
    address = parse_address(text.strip()) if isinstance(text, str) else text
    return address if isinstance(address, str) else _from_project(address)


ProjectPath = Annotated[Path, AfterValidator(_from_project), Field(validate_default=True)]
"""A path; a relative one is relative to the project's folder."""


class Settings(BaseSettings):
    """All settings, read and validated: from the environment, else from `.env`, else the default.

    A project adds its own in a subclass. An empty value is the default, or None where the type
    allows it.

    Raises:
        SettingError: `.env` cannot be read, or a value is invalid; the message names it.
    """

    model_config = SettingsConfigDict(
        env_file_encoding="utf-8", extra="ignore", frozen=True, str_strip_whitespace=True
    )

    landing_dir: Annotated[
        Path | str,
        BeforeValidator(to_landing_address),
        Field(
            description="Landing directory, with one folder per feed; or a bucket's prefix, such "
            "as `s3://bucket/prefix`, `gs://…` or `az://…`.",
            validate_default=True,
        ),
    ] = Path("data/source")
    staging_dir: Annotated[
        ProjectPath,
        Field(
            description="Folder for copies of a bucket's files while they are loaded, or fetched "
            "to it; it needs room for those of a run."
        ),
    ] = Path("data/staging/objects")
    duckdb_database: Annotated[
        ProjectPath, Field(description="DuckDB database that holds the tables and the ledger.")
    ] = Path("data/staging/partitioned_etl.duckdb")
    warehouse: Annotated[
        str,
        AfterValidator(_to_warehouse_address),
        Field(
            description="Address of the warehouse: `postgresql://user@host/database`, of which "
            "`docs/postgresql.md` tells more, `ducklake:postgres:CATALOG#DATA`, of which "
            "`docs/ducklake.md` does, or `duckdb:PATH`. Empty: `DUCKDB_DATABASE`.",
            repr=False,
        ),
    ] = ""
    archive_dir: Annotated[
        ProjectPath, Field(description="Folder for the compressed copies of partitions.")
    ] = Path("data/archive")
    reports_dir: Annotated[ProjectPath, Field(description="Folder for the arrivals page.")] = Path(
        "data/reports"
    )
    sensor_interval_seconds: Annotated[
        int,
        Field(
            description="Minimum seconds between two ticks of a sensor; the daemon evaluates "
            "sensors every 5 seconds, so smaller values have no effect.",
            ge=1,
        ),
    ] = 10
    landing_notifications: Annotated[
        str,
        AfterValidator(_to_notification_address),
        Field(
            description="Where word of what lands comes from, which wakes a feed's tick at once: "
            "`sqs:URL` with the URL of a queue, or `hook:HOST:PORT` to listen for it; "
            "`docs/object-storage.md` tells more. Empty: nowhere."
        ),
    ] = ""
    landing_notifications_token: Annotated[
        str,
        Field(
            description="What a sender to `hook:…` must send as `Authorization: Bearer …`; needed "
            "where others than this machine reach the port.",
            repr=False,
            validate_default=True,
        ),
    ] = ""
    settle_seconds: Annotated[
        FiniteFloat,
        Field(
            description="Seconds for which a file must be unchanged before it is loaded; up to 3, "
            "the tick itself waits, otherwise a later tick loads the file.",
            ge=0,
        ),
    ] = 2.0
    max_files_per_run: Annotated[
        int,
        Field(
            description="Maximum number of files per run, and per tick; up to twice as many may be "
            "in progress.",
            ge=1,
        ),
    ] = 1000
    lock_wait_seconds: Annotated[
        FiniteFloat,
        Field(
            description="Seconds for which a load waits while another process has the database "
            "open; ticks wait 3.",
            ge=0,
        ),
    ] = 60.0
    duckdb_memory_limit: Annotated[
        str,
        AfterValidator(_to_memory_size),
        Field(
            description="Memory that DuckDB may use, such as `1GB`; beyond it, DuckDB spills to "
            "`<database>.tmp`. Empty: DuckDB's own limit, 80% of the machine's memory."
        ),
    ] = ""
    duckdb_read_copy: Annotated[
        FiniteFloat,
        Field(
            description="Seconds, at least, between two copies of a DuckDB database for those who "
            "only read: `<database>.read.duckdb` beside it. 0: no copies.",
            ge=0,
        ),
    ] = 0.0
    load_history_days: Annotated[
        int,
        Field(
            description="Days for which table `load_history` tells what a load changed; the "
            "nightly reconcile job removes what is older.",
            ge=1,
        ),
    ] = 90
    alert_urls: Annotated[
        str,
        Field(
            description="Where failed runs and late files are reported: addresses as "
            "[apprise](https://appriseit.com) takes them, such as `mailto://…`, `slack://…` or "
            "`jsons://…`, separated by spaces. Empty: nowhere."
        ),
    ] = ""
    definitions_module: Annotated[
        str,
        Field(
            description="Module of the code location that the command line uses. Empty: that of "
            "the project, as its `dg.toml` or `pyproject.toml` tells Dagster."
        ),
    ] = ""
    web_ui_url: Annotated[
        str,
        AfterValidator(_to_web_address),
        Field(description="Address of the web UI, for the links in alerts."),
    ] = "http://127.0.0.1:3000"

    def __init__(self, **given: Any) -> None:
        env_file = project_dir() / ".env"
        try:
            super().__init__(_env_file=env_file, **given)
        except ValidationError as error:
            wrong = error.errors()[0]
            reason = wrong.get("ctx", {}).get("error") or f"{wrong['msg']}: {wrong['input']}"
            name = str(wrong["loc"][0]).upper()
            raise SettingError(f"setting {name}: {reason}") from None
        except (OSError, UnicodeError) as error:
            raise SettingError(f"{env_file} cannot be read: {error}") from None

    @property
    def database(self) -> Path | str:
        """The warehouse, as `connect_warehouse` takes it: a path, or an address."""
        if self.warehouse and has_one_writer(self.warehouse):
            return _from_project(Path(self.warehouse.removeprefix("duckdb:")))
        return self.warehouse or self.duckdb_database

    @field_validator("*", mode="before")
    @classmethod
    def _default_if_empty(cls, value: Any, info: Any) -> Any:
        """Take an empty value for None where that is allowed, else for the default."""
        if not isinstance(value, str) or value.strip():
            return value
        field = cls.model_fields[info.field_name]
        return None if type(None) in get_args(field.annotation) else field.default

    @field_validator("landing_notifications_token")
    @classmethod
    def _is_given_if_needed(cls, token: str, info: Any) -> str:
        address = info.data.get("landing_notifications")
        hook = parse_notification_address(address) if address else None
        if isinstance(hook, HookAddress) and not (hook.is_loopback or token):
            raise ValueError(
                "must not be empty, because others than this machine reach "
                f"LANDING_NOTIFICATIONS={address}"
            )
        return token
