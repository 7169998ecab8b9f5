"""Settings against a module's schema; a rejected value, and a secret above all, is never repeated. Source: DESIGN 4."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from jsonschema_rs import ValidationError, ValidationErrorKind, Validator, validator_for
from pydantic import ValidationError as NotAReference

from switchgear.core.configuration_validation.findings import Collector, Finding, Kind, listed, pointer
from switchgear.core.configuration_validation.identity_cache import IdentityCache
from switchgear.core.configuration_validation.structure import Use
from switchgear.domain.errors import Code
from switchgear.domain.stage import ModuleDescription
from switchgear.sdk.values import SecretRef

#: More findings about one module's settings help nobody.
_MOST: Final = 20
_UNKNOWN_NAME: Final = (ValidationErrorKind.AdditionalProperties, ValidationErrorKind.UnevaluatedProperties)
_validators: Final[IdentityCache[Validator | None]] = IdentityCache()


def check_settings(use: Use, module: ModuleDescription, collector: Collector) -> None:
    """Report settings that the module's schema refuses, secrets given as text, and references that lead nowhere."""
    secrets = list(_secrets(use.settings, module.secret_pointers))
    for place, value in secrets:
        _check_secret(use, place, value, collector)
    validator = _validators.get(module.settings_schema, make=lambda: _compiled(module.settings_schema))
    if validator is None:
        return
    skipped = {place for place, _ in secrets}
    for count, error in enumerate(validator.iter_errors(dict(use.settings))):
        if count == _MOST:
            break
        place = tuple(error.instance_path)
        if not any(place[: len(secret)] == secret for secret in skipped):
            _report(use, module, place, error, collector)


def _compiled(schema: Mapping[str, Any]) -> Validator | None:
    """A schema that cannot be compiled checks nothing here; the module itself still does when it is opened."""
    if not schema:
        return None
    try:
        return validator_for(dict(schema), mask="The value", offline=True)
    except ValueError:
        return None


def _report(
    use: Use, module: ModuleDescription, place: Sequence[str | int], error: ValidationError, collector: Collector
) -> None:
    where = use.pointer + pointer("settings", *place)
    message, hint = error.message, None
    if isinstance(error.kind, _UNKNOWN_NAME):
        known = _names_at(module.settings_schema, place)
        close = difflib.get_close_matches(str(error.kind.unexpected[0])[:128], known, 1, 0.6)
        message = f"Module {module.id} has no such setting." + (f" Did you mean {close[0]!r}?" if close else "")
        hint = f"Its settings are: {listed(known)}." if known else f"Module {module.id} has no settings."
    elif isinstance(error.kind, ValidationErrorKind.Required):
        message = f"The setting {error.kind.property} is missing."
    elif not message.startswith("The value"):
        message = "The value does not fit the module's settings schema."
    if not message.endswith((".", "?")):
        message += "."
    collector.add(Kind.CONTENT, Finding(Code.SELECTION_BAD_SETTINGS, where, use.stage.id, message, hint))


def _names_at(schema: Mapping[str, Any], place: Sequence[str | int]) -> list[str]:
    """Names of the settings that stand at *place*, as far as plain properties lead there."""
    node: Any = schema
    for part in place:
        node = _resolved(schema, node)
        node = node.get("properties", {}).get(part) if isinstance(part, str) else node.get("items")
        if not isinstance(node, Mapping):
            return []
    return sorted(_resolved(schema, node).get("properties", {}))


def _resolved(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = node.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/$defs/"):
        return node
    found: Mapping[str, Any] = schema.get("$defs", {}).get(reference.removeprefix("#/$defs/"), {})
    return found


# --- secrets ---


def _check_secret(use: Use, place: tuple[str | int, ...], value: Any, collector: Collector) -> None:
    if value is None:
        return
    where = use.pointer + pointer("settings", *place)
    try:
        reference = SecretRef.model_validate(value).root
    except NotAReference:
        message = "A secret is given by reference, never as text. The value is not repeated here and was not stored."
        hint = "Write env:SWITCHGEAR_SECRET_NAME or file:NAME."
        collector.add(Kind.CONTENT, Finding(Code.SECRET_LITERAL, where, use.stage.id, message, hint))
        return
    if not collector.options.secret_exists(reference):
        message = f"The secret {reference} is not there on this machine; workers look for it when they warm."
        hint = "Set the variable, or put the file into a secrets folder, wherever workers run."
        collector.add(Kind.NOTICE, Finding(Code.SECRET_UNVERIFIED, where, use.stage.id, message, hint))


def _secrets(settings: Mapping[str, Any], pointers: Sequence[str]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every setting that holds a secret, with its place; `*` in a pointer stands for all items or keys."""
    for text in pointers:
        parts = [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]
        yield from _at(settings, parts, ())


def _at(value: Any, parts: Sequence[str], place: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if not parts:
        yield place, value
        return
    first, rest = parts[0], parts[1:]
    if isinstance(value, Mapping):
        for key in value if first == "*" else [first]:
            if key in value:
                yield from _at(value[key], rest, (*place, key))
    elif isinstance(value, list | tuple) and first == "*":
        for index, item in enumerate(value):
            yield from _at(item, rest, (*place, index))
