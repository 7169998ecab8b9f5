"""`switchgear init`, `version`, `completion`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from switchgear.interface.cli import config_files
from switchgear.interface.cli.errors import CommandFailed, WrongUse
from switchgear.interface.cli.output import AsJson, print_json, say, show

app = typer.Typer()

_SETTINGS_FILE: Final = "switchgear.toml"
_PIPELINE_FILE: Final = "pipeline.yaml"
_SHELLS: Final = ("bash", "zsh", "fish")
#: Of settings that have no default, in TOML; each fits on one line, so that it can be uncommented alone.
_EXAMPLES: Final[Mapping[str, str]] = {
    "metrics_port": "9464",
    "source": '[{kind = "folder", path = "inbox", done = "inbox/done", failed = "inbox/failed"}]',
}


@app.command("init", epilog="Example: switchgear init billing")
def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Folder of the instance.")] = Path(),
    pipeline: Annotated[str, typer.Option(help="Name of the pipeline.")] = "invoice",
    as_json: AsJson = False,
) -> None:
    """Write switchgear.toml with every setting and pipeline.yaml with every stage, both commented."""
    files = {
        folder / _SETTINGS_FILE: settings_text(pipeline),
        folder / _PIPELINE_FILE: pipeline_text(_pipeline_called(pipeline)),
    }
    for path in files:
        if path.exists():
            raise WrongUse(f"{path} exists already; nothing was changed. Choose another folder, or remove it first.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"{error.filename} cannot be written: {error.strerror}.") from error
    if as_json:
        print_json({"files": [str(path) for path in files]})
        return
    for path in files:
        show(f"Wrote {path}")
    enter = "" if folder == Path() else f"cd {folder} && "
    say(f"Start it with `{enter}switchgear serve`, then send documents with `switchgear ingest FILE`.")


def settings_text(pipeline: str) -> str:
    """Return a `switchgear.toml` in which every setting stands commented out: with its default, or with an example."""
    from switchgear.core.settings import Settings

    written = {
        **_EXAMPLES,
        "artifacts_dir": _toml(Settings().artifacts_dir),  # its default hangs on HOME
        "pipeline": _toml(pipeline),
    }
    lines = [
        "# Settings of this Switchgear instance. Each can also be a variable: SWITCHGEAR_ and the name in capitals.",
    ]
    for name, field in Settings.model_fields.items():
        if name == "bootstrap_token":
            continue
        value = written.get(name) or _toml(field.get_default(call_default_factory=True, validated_data={}))
        mark = " None by default; an example:" if name in _EXAMPLES else ""
        comment = "" if name == "pipeline" else "# "
        lines += ["", f"# {field.description}{mark}", f"{comment}{name} = {value}"]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    import json

    return json.dumps(str(value), ensure_ascii=False)


def _pipeline_called(name: str) -> Any:
    from importlib.metadata import entry_points

    for point in entry_points(group="switchgear.pipelines", name=name):
        return point.load()
    known = ", ".join(sorted(point.name for point in entry_points(group="switchgear.pipelines")))
    raise WrongUse(f"No pipeline {name!r} is installed. Installed: {known or 'none'}.")


def pipeline_text(pipeline: Any) -> str:
    """Return a configuration file with the pipeline's default configuration, commented stage by stage."""
    body = {"pipeline": pipeline.name, **pipeline.default_configuration}
    body.pop("message", None)
    plain = config_files.write(body).splitlines()
    stages = {stage.id: stage for stage in pipeline.stages}
    lines = [
        "# Which module does each stage, and what replaces it when it fails.",
        "# Change it, then: switchgear config validate pipeline.yaml",
        '#                   switchgear config create pipeline.yaml -m "Why" --activate',
        "# A selection may have settings and limits, such as",
        "#   settings: {languages: [de, en]}, limits: {timeout_s: 20, retries: 1, concurrency: 2, memory_mb: 1024}",
        "# A step of a chain names the outcomes that lead to it; `then` is fail, park or (optional stages) skip.",
    ]
    for line in plain:
        stage = next((one for key, one in stages.items() if line.startswith(f"- {{stage_id: {key},")), None)
        if stage is not None:
            kind = "required" if stage.required else "optional"
            lines.append(f"# {stage.id}: {kind}, {stage.contract.name}@{stage.contract.version}")
        lines.append(line)
    return "\n".join(lines) + "\n"


@app.command("version", epilog="Example: switchgear version")
def version(as_json: AsJson = False) -> None:
    """Print the version of this package."""
    from importlib.metadata import version as installed

    found = installed("switchgear")
    if as_json:
        print_json({"version": found, "python": sys.version.split()[0]})
        return
    show(f"switchgear {found}")


@app.command(
    "completion", epilog="Example: switchgear completion bash > ~/.local/share/bash-completion/completions/switchgear"
)
def completion(
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")], as_json: AsJson = False
) -> None:
    """Print the completion script of a shell."""
    if shell not in _SHELLS:
        raise WrongUse(f"There is no completion for {shell!r}. Choose one of: {', '.join(_SHELLS)}.")
    from typer._completion_shared import get_completion_script

    script = get_completion_script(prog_name="switchgear", complete_var="_SWITCHGEAR_COMPLETE", shell=shell)
    if as_json:
        print_json({"shell": shell, "script": script})
        return
    show(script)
