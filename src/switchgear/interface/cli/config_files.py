"""Configuration files: the REST body in YAML, plus `format` and `pipeline`, which are checked and removed here.

Source: INTERFACES 3.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from switchgear.interface.cli.errors import WrongUse
from switchgear.interface.cli.output import json_text

FORMAT: Final = 1
#: A file larger than this is no configuration; the API's bound on a body.
_MAX_BYTES: Final = 1024 * 1024
#: As deep as bodies of the API may be.
_DEEPEST: Final = 64
_MOST_VALUES: Final = 100_000
_TAG: Final = "tag:yaml.org,2002:"
#: Kinds of YAML values that JSON has too.
_OF_JSON: Final = frozenset({"null", "bool", "int", "float", "str", "seq", "map"})


def read(path: Path) -> tuple[dict[str, Any], str | None]:
    """Return the REST body of a configuration file, and the pipeline that it is meant for.

    Raises:
        WrongUse: It cannot be read, is no YAML, or has another format.
    """
    import yaml

    try:
        if path.stat().st_size > _MAX_BYTES:
            raise WrongUse(f"{path} is larger than 1 MiB; that is no configuration.")
        content = _load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WrongUse(f"{path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise WrongUse(f"{path} is no YAML: {' '.join(str(error).split())[:300]}") from error
    except ValueError as error:
        raise WrongUse(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise WrongUse(f"{path} holds no configuration. `switchgear init` writes one to begin with.")
    found = content.pop("format", None)
    if found != FORMAT:
        said = "does not say its format" if found is None else f"has format {found!r}"
        raise WrongUse(f"{path} {said}; this version reads `format: {FORMAT}`.")
    pipeline = content.pop("pipeline", None)
    return content, None if pipeline is None else str(pipeline)


def _load(text: str) -> Any:
    """Read YAML as strictly as the API reads JSON: no key twice, and nothing that JSON does not have.

    Raises:
        ValueError: The sentence says what, and in which line.
        yaml.YAMLError: It is no YAML.
    """
    import yaml

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None:
        return None
    todo: list[tuple[Any, tuple[int, ...]]] = [(root, ())]
    for count in itertools.count():
        if not todo:
            break
        node, above = todo.pop()
        line = node.start_mark.line + 1
        if count > _MOST_VALUES:
            raise ValueError(f"it has more than {_MOST_VALUES} values, those that are repeated by a name included.")
        if id(node) in above:
            raise ValueError(f"line {line} refers to what it stands in. Write it out.")
        if len(above) > _DEEPEST:
            raise ValueError(f"line {line} is nested deeper than {_DEEPEST} levels.")
        inner = (*above, id(node))
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
            todo += [(value, inner) for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            todo += [(value, inner) for value in node.value]
        _check_value(node, yaml.SafeLoader(""), line)
    return yaml.safe_load(text)


def _check_keys(node: Any) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if key.tag not in (f"{_TAG}str", f"{_TAG}merge"):
            raise ValueError(f"line {line} has a key that is no text. Put it in quotes.")
        if key.value in seen:
            raise ValueError(f"line {line} has a key that stands there before. Which one counts would be a guess.")
        seen.add(key.value)


def _check_value(node: Any, loader: Any, line: int) -> None:
    kind = node.tag.removeprefix(_TAG)
    if kind not in _OF_JSON:
        raise ValueError(f"line {line} has a value that JSON does not have. Put a date in quotes, and leave tags out.")
    if kind == "float" and not math.isfinite(loader.construct_yaml_float(node)):
        raise ValueError(f"line {line} has a number that is none or too large. Write a smaller one.")
    if kind == "str" and any("\ud800" <= character <= "\udfff" or character == "\0" for character in node.value):
        raise ValueError(f"line {line} has a text with a character that is none. Remove it.")


def check_pipeline(path: Path, wanted: str | None, present: str) -> None:
    """Refuse a file that is meant for another pipeline.

    Raises:
        WrongUse: It is.
    """
    if wanted is not None and wanted != present:
        raise WrongUse(f"{path} is for the pipeline {wanted!r}; this instance runs {present!r}.")


def write(configuration: Mapping[str, Any]) -> str:
    """Return a configuration as a file that `config create` accepts: one line per selection and step."""
    import yaml

    lines = [f"format: {FORMAT}", f"pipeline: {configuration['pipeline']}"]
    if configuration.get("message"):
        lines.append(_flow(yaml, {"message": configuration["message"]})[1:-1])
    lines.append("selections:")
    for item in configuration["selections"]:
        lines.append(f"- {_flow(yaml, _kept(item, ('stage_id', 'module_id', 'settings', 'limits')))}")
    policies = configuration.get("fallback_policies") or []
    lines.append("fallback_policies:" if policies else "fallback_policies: []")
    for policy in policies:
        lines += _policy_lines(yaml, policy)
    return "\n".join(lines) + "\n"


def write_json(configuration: Mapping[str, Any]) -> str:
    """Return the same as `write` does, as JSON, which is YAML too."""
    kept = {name: configuration[name] for name in ("pipeline", "message", "selections", "fallback_policies")}
    return json_text({"format": FORMAT, **kept})


def _policy_lines(yaml: Any, policy: Mapping[str, Any]) -> Sequence[str]:
    lines = [f"- stage_id: {_flow(yaml, policy['stage_id'])}"]
    chain = policy.get("chain") or ()
    lines.append("  chain:" if chain else "  chain: []")
    lines += [f"  - {_flow(yaml, _kept(step, ('module_id', 'settings', 'on', 'threshold')))}" for step in chain]
    lines += [f"  {name}: {_flow(yaml, policy[name])}" for name in ("then", "budget_s") if policy.get(name) is not None]
    return lines


def _kept(item: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: item[name] for name in names if item.get(name) not in (None, {})}


def _flow(yaml: Any, value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...").strip()
