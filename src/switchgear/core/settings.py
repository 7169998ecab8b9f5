"""Settings: one typed class, from the command line, the environment, or `switchgear.toml`. Source: INTERFACES 5.

A name that is not known is refused, with the one that was probably meant: a setting is never accepted without effect.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from switchgear.core import database_url
from switchgear.domain.access import LONGEST_SECRET, SHORTEST_SECRET
from switchgear.domain.errors import Code, DomainError
from switchgear.domain.wanted_values import wanted_of
from switchgear.sdk.pipeline import QUEUE_NAME

PREFIX: Final = "SWITCHGEAR_"
FILE_NAME: Final = "switchgear.toml"
_HOME_DEFAULT: Final = "switchgear-data"
#: Names with our prefix that are read elsewhere: by the command line, by delivery modules.
_OTHERS: Final = frozenset({"SWITCHGEAR_URL", "SWITCHGEAR_TOKEN", "SWITCHGEAR_OUT"})
_SECRETS: Final = "SWITCHGEAR_SECRET_"


class SettingsInvalid(DomainError):
    """A setting is unknown or has an impossible value; `fields["problems"]` lists each as a sentence."""

    code = Code.REQUEST_INVALID


QueueName = Annotated[str, Field(pattern=QUEUE_NAME)]


def _fits_a_secret(given: SecretStr) -> SecretStr:
    if not SHORTEST_SECRET <= len(given) <= LONGEST_SECRET:
        raise ValueError(f"must have {SHORTEST_SECRET} to {LONGEST_SECRET} characters")
    return given


class FolderSource(BaseModel):
    """`[[source]]` of kind folder: files that appear in it are taken, then moved."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["folder"]
    path: Path = Field(description="Folder that is looked at; folders inside it are left alone.")
    done: Path | None = Field(None, description="Where accepted files go; `done` inside it when absent.")
    failed: Path | None = Field(None, description="Where refused files go; `failed` inside it when absent.")

    def under(self, folder: Path) -> FolderSource:
        """Return it with absolute paths, relative ones meant from *folder*."""
        path = folder / self.path
        done = folder / self.done if self.done else path / "done"
        failed = folder / self.failed if self.failed else path / "failed"
        return FolderSource(kind=self.kind, path=path, done=done, failed=failed)


@dataclass(frozen=True, slots=True)
class SettingView:
    """One setting as `doctor` prints it: secrets are masked."""

    name: str
    value: str
    origin: str
    description: str


class Settings(BaseSettings):
    """Everything that can be set. Names in the environment carry `SWITCHGEAR_`; in `switchgear.toml` they are as here.

    Use `load_settings`; building it directly takes values as they are, for tests.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    SECRET_NAMES: ClassVar[frozenset[str]] = frozenset({"bootstrap_token", "database_url"})

    home: Path = Field(Path(_HOME_DEFAULT), description="Folder of the instance's data.")
    artifacts_dir: Path = Field(
        Path(),
        description="Folder of documents and large outputs, shared by all processes; HOME/artifacts when absent.",
    )
    database_url: str = Field("", description="SQLAlchemy URL; SQLite in HOME when absent.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8420, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port on which `worker` serves /metrics, /livez, /readyz; 0 takes a free one, absent none.",
    )
    workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=0, le=256, description="Concurrent runs; 0 carries none here."
    )
    queues: tuple[QueueName, ...] = Field((), description="Work queues that are served here; all when absent.")
    queue_backend: Literal["builtin", "procrastinate"] = Field(
        "builtin", description="Who carries runs to workers; `procrastinate` needs PostgreSQL and the extra."
    )
    pipeline: str = Field("invoice", min_length=1, description="Name of the pipeline's entry point.")
    max_upload_bytes: int = Field(50 * 1024 * 1024, ge=1, description="Largest document that is accepted, in bytes.")
    max_queued: int = Field(
        10_000, ge=0, description="Waiting runs above which intake answers 429; 0 takes any number."
    )
    min_free_bytes: int = Field(2 * 1024**3, ge=0, description="Free bytes below which intake answers 507.")
    retention_artifacts_days: int = Field(
        30, ge=0, le=36_500, description="Days that large outputs of ended runs are kept, results apart; 0 = for ever."
    )
    retention_documents_days: int = Field(
        0, ge=0, le=36_500, description="Days that originals are kept after their last run; 0 = for ever."
    )
    retention_runs_days: int = Field(
        0, ge=0, le=36_500, description="Days that documents are kept with runs and results; 0 = for ever."
    )
    log_format: Literal["json", "text"] = Field("json", description="Log lines for machines or for people.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    bootstrap_token: Annotated[SecretStr, AfterValidator(_fits_a_secret)] | None = Field(
        None, description="Secret of an admin token made at the first start."
    )
    warm_timeout_s: float = Field(
        60.0, gt=0, le=3600, description="Longest wait for workers to warm, in seconds; a module's `open` gets half."
    )
    checkpoint_after_ms: int = Field(
        50, ge=0, le=60_000, description="Unsaved work that is committed, in milliseconds; 0 after every stage."
    )
    heartbeat_s: float = Field(5.0, gt=0, le=60, description="Pause between a worker's heartbeats, in seconds.")
    lease_s: float = Field(20.0, gt=0, le=600, description="Life of a worker's lease, at least four heartbeats.")
    run_deadline_s: float = Field(900.0, gt=0, le=86_400, description="Longest running time of a run, in seconds.")
    shutdown_grace_s: float = Field(20.0, ge=0, le=600, description="Time for running stages at shutdown, in seconds.")
    auto_configure: bool = Field(True, description="Make and activate version 1 at the first start.")
    on_module_change: Literal["relock", "hold"] = Field("relock", description="What a changed module's code leads to.")
    unproven: Literal["warn", "error"] = Field("warn", description="What an undecided compatibility is.")
    allow_inline: bool = Field(False, description="Let modules that are not built in run inside the server.")
    isolation: Literal["auto", "L0", "L1", "L2", "L3"] = Field(
        "auto", description="Isolation of modules; `auto` is the highest that this machine has."
    )
    secrets_dirs: tuple[Path, ...] = Field((), description="Folders of secret files; HOME/secrets when absent.")
    source: tuple[FolderSource, ...] = Field(
        (),
        description="Folders to take documents from, also as `[[source]]` tables at the end: a file is taken when its "
        "size is stable for two seconds, then moved.",
    )

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from `load_settings` only, which remembers where each came from."""
        return (init_settings,)

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        separators = {"secrets_dirs": os.pathsep, "queues": ","}
        lists = {
            name: [part.strip() for part in values[name].split(separator) if part.strip()]
            for name, separator in separators.items()
            if isinstance(values.get(name), str)
        }
        return {**values, **lists}

    @model_validator(mode="after")
    def _fill_in(self) -> Self:
        if self.lease_s < 4 * self.heartbeat_s:
            raise ValueError("lease_s must be at least four times heartbeat_s")
        url = self.database_url or f"sqlite:///{self.home.absolute() / 'switchgear.db'}"
        object.__setattr__(self, "database_url", database_url.checked(url))
        self._check_queue_backend()
        if "artifacts_dir" not in self.model_fields_set:
            object.__setattr__(self, "artifacts_dir", self.home / "artifacts")
        if not self.secrets_dirs:
            object.__setattr__(self, "secrets_dirs", (self.home / "secrets",))
        return self

    def _check_queue_backend(self) -> None:
        if self.queue_backend == "builtin":
            return
        if self.database_url.startswith("sqlite:"):
            raise ValueError(
                "queue_backend procrastinate needs PostgreSQL, and database_url is SQLite; set database_url to "
                "postgresql://..., or queue_backend to builtin"
            )
        if find_spec("procrastinate") is None:
            raise ValueError(
                "queue_backend procrastinate needs a package that is not installed; run pip install "
                "'switchgear[procrastinate]', or set queue_backend to builtin"
            )

    @property
    def database_files(self) -> tuple[Path, ...]:
        """Files of the database; none on PostgreSQL."""
        if not self.database_url.startswith("sqlite:///"):
            return ()
        path = self.database_url.removeprefix("sqlite:///")
        return tuple(Path(path + end) for end in ("", "-wal", "-shm", "-journal"))

    def origin_of(self, name: str) -> str:
        """Say where a setting's value came from: `default`, the file, the variable, or `command line`."""
        return self._origins.get(name, "default")

    def views(self) -> list[SettingView]:
        """Return every setting with its value and origin; secrets masked."""
        return [
            SettingView(name, self._shown(name), self.origin_of(name), field.description or "")
            for name, field in type(self).model_fields.items()
        ]

    def _shown(self, name: str) -> str:
        value = getattr(self, name)
        if name == "database_url":
            return database_url.shown(value)
        if name == "source":
            return ", ".join(f"{source.kind} {source.path}" for source in value)
        if isinstance(value, tuple):
            return os.pathsep.join(str(item) for item in value)
        return "" if value is None else str(value)


def find_instance(cwd: Path, environment: Mapping[str, str] | None = None) -> Path | None:
    """Return the folder of the nearest `switchgear.toml` from *cwd* upwards, else HOME when it is there, else None."""
    for folder in (cwd, *cwd.parents):
        if (folder / FILE_NAME).is_file():
            return folder
    home = home_without_file(cwd, environment)
    return home if home.is_dir() else None


def home_without_file(cwd: Path, environment: Mapping[str, str] | None = None) -> Path:
    """Return HOME as it is when no `switchgear.toml` says otherwise: for the sentence that says which was looked at."""
    variables = os.environ if environment is None else environment
    return (cwd / variables.get(f"{PREFIX}HOME", _HOME_DEFAULT)).absolute()


def load_settings(
    cwd: Path, environment: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Read the settings of the instance that *cwd* belongs to.

    Args:
        cwd: Where the search for `switchgear.toml` begins.
        environment: Variables; the process's own when None.
        overrides: Values from the command line, by name; None values are left out.

    Raises:
        SettingsInvalid: A name is unknown or a value impossible; every problem is listed.
    """
    variables = os.environ if environment is None else environment
    folder = next((each for each in (cwd, *cwd.parents) if (each / FILE_NAME).is_file()), None)
    from_file = _read_file(folder / FILE_NAME) if folder is not None else {}
    values, origins = _merge(cwd, folder, from_file, variables, overrides or {})
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise _invalid(_sentences(error, origins)) from None
    settings._origins.update(origins)
    return settings


def _merge(
    cwd: Path,
    folder: Path | None,
    from_file: Mapping[str, Any],
    variables: Mapping[str, str],
    overrides: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, str]]:
    problems = _unknown(from_file, variables)
    if problems:
        raise _invalid(problems)
    values: dict[str, Any] = {"home": _HOME_DEFAULT}
    origins: dict[str, str] = {}
    base = folder or cwd
    for name in from_file:
        values[name], origins[name] = from_file[name], str(base / FILE_NAME)
    for name in Settings.model_fields:
        variable = PREFIX + name.upper()
        if variable in variables:
            values[name], origins[name] = variables[variable], f"variable {variable}"
    for name, value in overrides.items():
        if value is not None:
            values[name], origins[name] = value, "command line"
    for name in ("home", "artifacts_dir", "secrets_dirs"):
        if name in values:
            spoken_here = origins.get(name, "").startswith(("variable", "command"))
            folder, value = cwd if spoken_here else base, values[name]
            values[name] = _folders(folder, value) if name == "secrets_dirs" else (folder / str(value)).absolute()
    _resolve_sources(values, base)
    return values, origins


def _folders(base: Path, value: Any) -> Any:
    """Several folders, relative ones meant from *base*; what is no list of texts is left to the validation."""
    parts = value.split(os.pathsep) if isinstance(value, str) else value
    if not isinstance(parts, list):
        return value
    return [base / part.strip() if isinstance(part, str) else part for part in parts if part]


def _resolve_sources(values: dict[str, Any], base: Path) -> None:
    if isinstance(values.get("source"), list):
        try:
            values["source"] = [FolderSource.model_validate(item).under(base) for item in values["source"]]
        except ValidationError as error:
            raise _invalid(_sentences(error, {}, "source")) from None


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _invalid([f"{path} cannot be read: {error}. Repair the file."]) from error


def _unknown(from_file: Mapping[str, Any], variables: Mapping[str, str]) -> list[str]:
    known = list(Settings.model_fields)
    problems = [
        f"{FILE_NAME}: there is no setting {name!r}.{_meant(name, known)}"
        for name in sorted(set(from_file) - set(known))
    ]
    in_environment = {PREFIX + name.upper() for name in known if name != "source"}
    for variable in sorted(variables):
        ours = variable.startswith(PREFIX) and variable not in _OTHERS and not variable.startswith(_SECRETS)
        if ours and variable not in in_environment:
            problems.append(
                f"There is no setting for the variable {variable}.{_meant(variable, in_environment | _OTHERS)}"
            )
    return problems


def _meant(name: str, known: Any) -> str:
    by_lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), by_lower, 1, 0.7)
    return f" Did you mean {by_lower[close[0]]!r}?" if close else " Remove it."


def _sentences(error: ValidationError, origins: Mapping[str, str], prefix: str = "") -> list[str]:
    found = []
    for item in error.errors(include_input=False, include_url=False):
        place = ".".join(str(part) for part in ((prefix, *item["loc"]) if prefix else item["loc"]))
        origin = origins.get(place.partition(".")[0])
        where = f"{place} ({origin})" if origin else place
        wanted = wanted_of(item["type"], item.get("ctx"))
        said = f" {wanted}." if wanted else f": {item['msg'].removeprefix('Value error, ')}."
        found.append(f"{where}{said}" if where else said.removeprefix(": "))
    return found


def _invalid(problems: list[str]) -> SettingsInvalid:
    return SettingsInvalid("The settings do not fit. " + " ".join(problems), problems=problems)
