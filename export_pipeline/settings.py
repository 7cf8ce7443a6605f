"""Typed settings, and the only reader of the environment.

A value comes from the environment, else from the embedded services while they run (`services.json` in the state
folder), else from the default. A missing or wrong one is one clear sentence.
"""

import fcntl
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

from pydantic import Field, FilePath, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableSetting

#: In the state folder: the address of the door for links that `up` runs, which holds a lock on the file while it lives.
DOOR_FILE = "door.json"
#: The least that a key of keyed hashes is made of.
_KEY_CHARACTERS = 32
_MAIL_SERVER = re.compile(r"smtps?://([^\s/?#@:]+:[^\s/?#@:]+@)?(\[[0-9a-f:.]+\]|[^\s/?#@:\[\]]+)(:[0-9]+)?/?")
_WEBHOOK = re.compile(r"(https://[^\s/?#@]+|http://(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?)([/?][^\s#]*)?")
_MAIL_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+")


class SettingsError(ValueError):
    """A setting is missing or wrong; the text is one sentence for each, and never holds a value."""


def state_folder() -> Path:
    """Where the embedded services and local Dagster keep their state: `EXPORT_STATE_DIRECTORY`, default
    `.export_pipeline` in the working directory."""
    return Path(os.environ.get("EXPORT_STATE_DIRECTORY") or ".export_pipeline").absolute()


class _EmbeddedSource(PydanticBaseSettingsSource):
    """The settings that the embedded services, and the door for links, publish while they run."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError  # __call__ answers for all fields at once

    def __call__(self) -> dict[str, Any]:
        found = _published("services.json")
        # Half of them from here and half from the environment would send data to the wrong place.
        pairs = {
            "DATABASE_URL": ("DATABASE_URL", "database_url"),
            "S3_BUCKET_NAME": ("S3_BUCKET_NAME", "bucket"),
            "AWS_ENDPOINT_URL": ("S3_BUCKET_NAME", "s3_endpoint_url"),
            "AWS_ACCESS_KEY_ID": ("S3_BUCKET_NAME", "access_key_id"),
            "AWS_SECRET_ACCESS_KEY": ("S3_BUCKET_NAME", "secret_access_key"),
        }
        values = {name: found[key] for name, (group, key) in pairs.items() if key in found and group not in os.environ}
        # The door knows the links in its own ledger only, and the files at its own destinations.
        if not {"DATABASE_URL", "S3_BUCKET_NAME", "EXPORT_DIRECTORY"} & os.environ.keys():
            values |= _published(DOOR_FILE, held=True)
        return values


def _published(name: str, *, held: bool = False) -> dict[str, Any]:
    """What a file of the state folder tells; nothing where there is none, nor where one that has to be `held` was left
    by a process that was killed: nobody has it locked."""
    try:
        with (state_folder() / name).open() as file:
            if held and not _is_locked(file):
                return {}
            found: dict[str, Any] = json.load(file)
    except (OSError, ValueError):
        return {}
    return found


def _is_locked(file: TextIO) -> bool:
    try:
        # A shared one, so that two who look at once do not take each other for its holder.
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


class Settings(BaseSettings):
    """All settings, by the name of their environment variable."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, populate_by_name=True, env_ignore_empty=True)

    database_url: SecretStr = Field(
        alias="DATABASE_URL",
        description="PostgreSQL that the exports' own schema `exports` is kept in: `postgresql://user:password@host/db`.",
    )
    source_url: SecretStr | None = Field(
        None,
        alias="EXPORT_SOURCE_URL",
        description="PostgreSQL where the data is; reading suffices. Default: the same as DATABASE_URL.",
    )
    datasets_path: Path | None = Field(
        None, alias="EXPORT_DATASETS_PATH", description="A folder with dataset files of your own."
    )
    s3_bucket_name: str | None = Field(None, alias="S3_BUCKET_NAME", description="The bucket that exports go to.")
    s3_prefix: str = Field("exports", alias="EXPORT_S3_PREFIX", description="What every key in the bucket starts with.")
    aws_region: str = Field("us-east-1", alias="AWS_REGION", description="The bucket's region.")
    aws_endpoint_url: str | None = Field(
        None, alias="AWS_ENDPOINT_URL", description="The address of an S3-compatible store, where it is not Amazon's."
    )
    aws_access_key_id: SecretStr | None = Field(
        None, alias="AWS_ACCESS_KEY_ID", description="Default: the usual chain (profile, container, instance role)."
    )
    aws_secret_access_key: SecretStr | None = Field(
        None, alias="AWS_SECRET_ACCESS_KEY", description="Belongs to AWS_ACCESS_KEY_ID."
    )
    aws_session_token: SecretStr | None = Field(
        None, alias="AWS_SESSION_TOKEN", description="Belongs to temporary keys."
    )
    kms_key_id: str | None = Field(
        None, alias="EXPORT_KMS_KEY_ID", description="Encrypt objects with this KMS key. Default: AES256 by the store."
    )
    export_directory: Path | None = Field(
        None, alias="EXPORT_DIRECTORY", description="The folder that the destination `local` writes to."
    )
    branding_directory: Path | None = Field(
        None,
        alias="EXPORT_BRANDING_DIRECTORY",
        description="A folder with the branding of PDF reports: logo, colours, fonts … (docs/pdf-reports.md).",
    )
    max_records: int = Field(
        100_000,
        gt=0,
        alias="EXPORT_MAX_RECORDS",
        description="The most rows of a file that people open (spreadsheet CSV, XLSX).",
    )
    compression_level: int | None = Field(
        None,
        ge=1,
        le=9,
        alias="EXPORT_COMPRESSION_LEVEL",
        description="How hard compressed files are compressed, 1 (quick) to 9 (small), where a request does not say. "
        "Default: 6 for gzip and ZIP, 3 for zstd, 1 for lz4.",
    )
    zip_passwords: Mapping[str, SecretStr] = Field(
        {},
        alias="EXPORT_ZIP_PASSWORDS",
        description='Passwords of encrypted ZIP packages, by the names that requests call them: `{"board": "…"}`.',
    )
    hash_keys: Mapping[str, SecretStr] = Field(
        {},
        alias="EXPORT_HASH_KEYS",
        description='Keys of keyed hashes, by ids that manifests name, the current one first: `{"2026": "…"}`. Each '
        "has 32 characters or more. To change the key, add a new one before the others.",
    )
    require_reason: bool = Field(
        False,
        alias="EXPORT_REQUIRE_REASON",
        description="Whether an export of personal data that is not masked must say why it is needed (`--reason`).",
    )
    source_own_role: str | None = Field(
        None,
        alias="EXPORT_SOURCE_OWN_ROLE",
        description="A role of the source without BYPASSRLS that exports of one's own rows are read in, where "
        "row-level security is installed (docs/what-may-leave.md). Default: the account of EXPORT_SOURCE_URL itself.",
    )
    subject_key: SecretStr | None = Field(
        None,
        alias="EXPORT_SUBJECT_KEY",
        description="The key of the index by which `subject find` knows the files that hold a person: 32 characters or "
        "more that nobody can guess. Several with commas between them: the first is for new files, all are for "
        "finding. Default: no index.",
    )
    subject_index: bool = Field(
        True,
        alias="EXPORT_SUBJECT_INDEX",
        description="Whether such an index is written with each export, where EXPORT_SUBJECT_KEY is set: on or off.",
    )
    url_ttl_seconds: int = Field(
        3600, gt=0, le=604_800, alias="EXPORT_URL_TTL_SECONDS", description="How long a link works (seconds)."
    )
    link_url: str | None = Field(
        None,
        alias="EXPORT_LINK_URL",
        description="The public address of `export-pipeline links serve`: links then go through it, are counted and "
        "can be revoked (docs/links.md). Default: links are presigned by the store.",
    )
    dagster_url: str | None = Field(
        None,
        alias="EXPORT_DAGSTER_URL",
        description="The address of Dagster's web server: alerts then lead to the runs that failed.",
    )
    smtp_url: SecretStr | None = Field(
        None,
        alias="EXPORT_SMTP_URL",
        description="The mail server that alerts go through (docs/alerts.md): `smtp://user:password@host:587`, with "
        "STARTTLS except on loopback, or `smtps://…`. In user and password, `%40` stands for @, `%3A` for : and so on.",
    )
    alert_from: str | None = Field(None, alias="EXPORT_ALERT_FROM", description="The address that alerts come from.")
    alert_to: str | None = Field(
        None,
        alias="EXPORT_ALERT_TO",
        description="Who gets alerts by e-mail: addresses with commas between them. Needs EXPORT_SMTP_URL and "
        "EXPORT_ALERT_FROM.",
    )
    alert_webhook: SecretStr | None = Field(
        None,
        alias="EXPORT_ALERT_WEBHOOK",
        description="The address, https:// except on loopback, that alerts are posted to as Slack, Mattermost and "
        "Teams take them (docs/alerts.md).",
    )
    ttl_days: int = Field(7, gt=0, alias="EXPORT_TTL_DAYS", description="How long a one-off export is kept (days).")
    cleanup_days: int = Field(
        30,
        gt=0,
        alias="EXPORT_CLEANUP_DAYS",
        description="How long recurring exports, extracts and old Dagster runs are kept (days).",
    )
    max_attempts: int = Field(3, gt=0, alias="EXPORT_MAX_ATTEMPTS", description="How often an export is tried.")
    retry_seconds: float = Field(
        5,
        ge=0,
        alias="EXPORT_RETRY_SECONDS",
        description="The wait before the second attempt; doubled for each further.",
    )
    heartbeat_seconds: float = Field(
        2, gt=0, alias="EXPORT_HEARTBEAT_SECONDS", description="How often a running export says that it lives."
    )
    dead_after_seconds: float = Field(
        30,
        gt=0,
        alias="EXPORT_DEAD_AFTER_SECONDS",
        description="Without a heartbeat for so long, an attempt is given up.",
    )
    work_mem: str = Field(
        "256MB",
        pattern=r"^[0-9]+(kB|MB|GB)$",
        alias="EXPORT_WORK_MEM",
        description="PostgreSQL's work_mem while exporting: what a sort may take before it goes to disk, in each "
        "process of the query. 64MB is kinder to a small server, and makes an export of a million rows a tenth slower.",
    )
    parallel_workers: int = Field(
        1,
        ge=0,
        le=64,
        alias="EXPORT_PARALLEL_WORKERS",
        description="How many processes more than one PostgreSQL may read an export with "
        "(max_parallel_workers_per_gather). A database server with cores to spare sorts sooner with more.",
    )
    postgres_driver: FilePath | None = Field(
        None,
        alias="EXPORT_POSTGRES_DRIVER",
        description="Another build of ADBC's driver for PostgreSQL (`libadbc_driver_postgresql.so`) to read rows with. "
        "The one that is installed from PyPI is built without optimization; another reads a large export in up to a "
        "fifth less time (docs/performance.md).",
    )
    snapshot_seconds: int = Field(
        7200,
        gt=0,
        alias="EXPORT_SNAPSHOT_SECONDS",
        description="The longest that an export may hold its snapshot (seconds).",
    )

    @field_validator("database_url", "source_url", mode="after")
    @classmethod
    def _postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        scheme, separator, rest = value.get_secret_value().partition("://")
        if not separator or scheme.partition("+")[0] not in ("postgresql", "postgres"):
            raise ValueError("must look like postgresql://user:password@host:5432/database")
        return SecretStr(f"postgresql://{rest}")

    @field_validator("link_url", "dagster_url", mode="after")
    @classmethod
    def _plain_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", value):
            raise ValueError("must look like https://files.example.com, without user, query and fragment")
        return value.rstrip("/")

    @field_validator("smtp_url", mode="after")
    @classmethod
    def _mail_server(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _fits(_MAIL_SERVER, value):
            raise ValueError("must look like smtp://user:password@host:587 or smtps://host, with %40 for an @ inside")
        return value

    @field_validator("alert_from", "alert_to", mode="after")
    @classmethod
    def _mail_addresses(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        several = info.field_name == "alert_to"
        found = [item.strip() for item in (value.split(",") if several else [value])]
        if not all(map(_MAIL_ADDRESS.fullmatch, found)):
            raise ValueError("must be like exports@example.com" + (", with commas between several" if several else ""))
        if several and None in (info.data.get("smtp_url", ""), info.data.get("alert_from", "")):
            raise ValueError("needs EXPORT_SMTP_URL and EXPORT_ALERT_FROM; set all three")
        return ",".join(found)

    @field_validator("alert_webhook", mode="after")
    @classmethod
    def _webhook(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _fits(_WEBHOOK, value):
            raise ValueError("must look like https://hooks.example.com/… (http:// on loopback only), without user")
        return value

    @field_validator("hash_keys", mode="after")
    @classmethod
    def _hash_keys_long_enough(cls, keys: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        for name, key in keys.items():
            if not re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", name):
                raise ValueError("the id of a key is made of 1 to 40 letters, digits, points, dashes and underscores")
            if len(key.get_secret_value()) < _KEY_CHARACTERS:
                raise ValueError(f"the key {name} is shorter than {_KEY_CHARACTERS} characters")
        return keys

    @field_validator("subject_key", mode="after")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and any(len(key) < 32 for key in _keys(value)):
            raise ValueError("each key must have 32 characters or more (such as `openssl rand -hex 32` prints)")
        return value

    @property
    def subject_keys(self) -> tuple[str, ...]:
        """The keys of the index of people, the one for new files first."""
        return _keys(self.subject_key) if self.subject_key else ()

    @property
    def alert_recipients(self) -> tuple[str, ...]:
        """Who gets alerts by e-mail."""
        return tuple(self.alert_to.split(",")) if self.alert_to else ()

    def zip_password(self, name: str) -> bytes | None:
        """The password of a name, or None."""
        found = self.zip_passwords.get(name)
        return found.get_secret_value().encode() if found else None

    @property
    def source(self) -> SecretStr:
        """Where the data is."""
        return self.source_url or self.database_url

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _EmbeddedSource(settings_cls)


def load_settings(**overrides: Any) -> Settings:
    """The settings in force; `overrides` by the name of the environment variable. Raises SettingsError."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError("; ".join(_sentence(item) for item in error.errors(include_input=False))) from None
    except UnreadableSetting as error:
        # Its text names the field, its cause holds the value.
        fields = Settings.model_fields.items()
        names = [field.alias or name for name, field in fields if f'"{name}"' in str(error)]
        raise SettingsError(f'{", ".join(names)} is not JSON such as {{"2026": "…"}}; mind the quotes') from None


def _fits(pattern: re.Pattern[str], value: SecretStr) -> bool:
    text = value.get_secret_value()
    try:
        fits = pattern.fullmatch(text) is not None and text.isascii() and text.isprintable()
        return fits and urlsplit(text).port != 0
    except ValueError:  # whose text may hold part of a password
        return False


def _keys(value: SecretStr) -> tuple[str, ...]:
    return tuple(key.strip() for key in value.get_secret_value().split(","))


def _sentence(item: Any) -> str:
    name = ".".join(str(part) for part in item["loc"])
    if item["type"] == "missing":
        return (
            f"{name} is not set: set it in the environment, or start the embedded services with "
            "`export-pipeline services start`"
        )
    return f"{name} is wrong: {item['msg'].removeprefix('Value error, ')}"
