"""Settings against a module's schema; a rejected value, and a secret above all, is never repeated. Source: DESIGN 4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, takewhile
from typing import Any, Final

from jsonschema_rs import ValidationError, ValidationErrorKind, Validator, validator_for
from pydantic import ValidationError as NotAReference

from switchgear.core.configuration_validation.findings import Collector, Finding, Kind, listed, pointer
from switchgear.core.configuration_validation.identity_cache import IdentityCache
from switchgear.core.configuration_validation.structure import Use
from switchgear.domain.configuration import sha256_of
from switchgear.domain.errors import Code
from switchgear.domain.stage import ModuleDescription, SettingMistake
from switchgear.domain.wanted_values import any_of, did_you_mean, wanted_by_schema
from switchgear.sdk.values import SecretRef

#: More findings about one module's settings help nobody.
_MOST: Final = 20
_UNKNOWN_NAME: Final = (ValidationErrorKind.AdditionalProperties, ValidationErrorKind.UnevaluatedProperties)
_UNION: Final = (ValidationErrorKind.AnyOf, ValidationErrorKind.OneOfNotValid)
_OTHER_VALUE: Final = (ValidationErrorKind.Type, ValidationErrorKind.Enum, ValidationErrorKind.Constant)
_validators: Final[IdentityCache[Validator | None]] = IdentityCache()


def check_settings(
    use: Use,
    module: ModuleDescription,
    collector: Collector,
    refused: Mapping[tuple[str, str], Sequence[SettingMistake]],
) -> None:
    """Report settings that the module refuses, secrets given as text, and references that lead nowhere.

    Args:
        use: A module with its settings.
        module: What it is.
        collector: Where findings go.
        refused: What the code of modules refused, where their schema does not show it.
    """
    secrets = list(secrets_in(use.settings, module.secret_pointers))
    for place, value in secrets:
        _check_secret(use, place, value, collector)
    skipped = {place for place, value in secrets if value is not None}
    validator = _validators.get(module.settings_schema, make=lambda: _compiled(module.settings_schema))
    errors = validator.iter_errors(dict(use.settings)) if validator is not None else ()
    mistakes = [mistake for error in islice(errors, _MOST) for mistake in _mistakes(error)][:_MOST]
    for error in mistakes:
        place = tuple(error.instance_path)
        if not any(place[: len(secret)] == secret for secret in skipped):
            _report(use, module, place, error, collector)
    if mistakes or not refused:
        return
    for mistake in refused.get((module.id, sha256_of(dict(use.settings))), ()):
        place = _in(use.settings, mistake.place)
        if place not in skipped:
            where = use.pointer + pointer("settings", *place)
            message = f"{_named(module, place)} {mistake.wanted}."
            collector.add(Kind.CONTENT, Finding(Code.SELECTION_BAD_SETTINGS, where, use.stage.id, message))


def _in(settings: Any, place: Sequence[str | int]) -> tuple[str | int, ...]:
    """*place* as far as it is in the settings: the validating library also names the alternatives of unions."""
    found: list[str | int] = []
    for part in place:
        try:
            settings = settings[part]
        except (LookupError, TypeError):
            break
        found.append(part)
    return tuple(found)


def _compiled(schema: Mapping[str, Any]) -> Validator | None:
    """A schema that cannot be compiled checks nothing here; the module itself still does when it is opened."""
    if not schema:
        return None
    try:
        return validator_for(dict(schema), mask="The value", offline=True)
    except ValueError:
        return None


def _mistakes(error: ValidationError) -> Sequence[ValidationError]:
    """What to report of an error: of a union, what is wrong in the alternative that was meant, if that can be seen."""
    if not isinstance(error.kind, _UNION):
        return [error]
    alternatives = [[each for one in errors for each in _mistakes(one)] for errors in error.kind.context]
    meant = [errors for errors in alternatives if errors and not _is_other(errors[0], error)]
    return min(meant, key=len, default=[error])


def _is_other(error: ValidationError, union: ValidationError) -> bool:
    """Whether an alternative of a union is another kind of value altogether."""
    return list(error.instance_path) == list(union.instance_path) and isinstance(error.kind, (*_OTHER_VALUE, *_UNION))


def _report(
    use: Use, module: ModuleDescription, place: Sequence[str | int], error: ValidationError, collector: Collector
) -> None:
    where = use.pointer + pointer("settings", *place)
    message, hint = f"{_named(module, place)} {_wanted(error) or 'does not fit the schema of the module'}.", None
    if isinstance(error.kind, _UNKNOWN_NAME):
        known = _names_at(module.settings_schema, place)
        message = " ".join(
            filter(None, (f"Module {module.id} has no such setting.", did_you_mean(error.kind.unexpected[0], known)))
        )
        hint = f"Its settings are: {listed(known)}." if known else f"Module {module.id} has no settings."
    elif isinstance(error.kind, ValidationErrorKind.Required):
        message = f"{_named(module, (*place, error.kind.property))} is missing."
    collector.add(Kind.CONTENT, Finding(Code.SELECTION_BAD_SETTINGS, where, use.stage.id, message, hint))


def _wanted(error: ValidationError) -> str | None:
    if isinstance(error.kind, _UNION):
        return any_of(words for errors in error.kind.context for one in errors[:1] if (words := _wanted(one)))
    return wanted_by_schema(error.kind.name, error.kind.value)


def _named(module: ModuleDescription, place: Sequence[str | int]) -> str:
    """The setting at *place*, as far as the schema knows its name: keys of the caller's own are not repeated."""
    known = takewhile(
        lambda at: isinstance(place[at], int) or place[at] in _names_at(module.settings_schema, place[:at]),
        range(len(place)),
    )
    name = ".".join(str(place[at]) for at in known)
    return f"The setting {name}" if name else "The value"


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
    """The node that *node* stands for: what it refers to, and of a union the alternative that has names."""
    unions = (*node.get("anyOf", ()), *node.get("oneOf", ()))
    alternatives = [_resolved(schema, each) for each in unions if isinstance(each, Mapping)]
    reference = str(node.get("$ref", ""))
    if reference.startswith("#/$defs/"):
        found: Mapping[str, Any] = schema.get("$defs", {}).get(reference.removeprefix("#/$defs/"), {})
        return found
    return next((each for each in alternatives if "properties" in each), node)


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


def secrets_in(settings: Mapping[str, Any], pointers: Sequence[str]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
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
