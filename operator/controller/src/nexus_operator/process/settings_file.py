"""The settings file, as the chart renders it: YAML in camelCase, checked field by field."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from nexus_operator.settings import Settings


class SettingsInvalid(Exception):
    """The settings cannot be used; the message names the file, the field and what is wrong."""


def read_settings(path: Path) -> Settings:
    """Return the settings that a file states; what it leaves out has its default.

    Raises SettingsInvalid.
    """
    try:
        stated = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise SettingsInvalid(f"the settings {path} cannot be read: {error}") from error
    try:
        return TypeAdapter(Settings).validate_python(_fields_of(Settings, stated, ""))
    except ValidationError as problem:
        told = "; ".join(
            f"{_place(error['loc'])}: {error['msg']}, not {error['input']!r}"
            for error in problem.errors()
        )
        raise SettingsInvalid(f"the settings {path} are wrong: {told}") from problem
    except SettingsInvalid as problem:
        raise SettingsInvalid(f"the settings {path} are wrong: {problem}") from problem


def _fields_of(kind: type[Any], stated: object, where: str) -> dict[str, Any]:
    """Return the arguments of a dataclass from a mapping in camelCase."""
    if not isinstance(stated, Mapping):
        raise SettingsInvalid(f"{where or 'the file'}: must be a mapping, not {stated!r}")
    types = get_type_hints(kind)
    names = {to_camel(one.name): one.name for one in dataclasses.fields(kind)}
    unknown = sorted(str(key) for key in stated if key not in names)
    if unknown:
        raise SettingsInvalid(
            f"{where}{unknown[0]}: no such field; there are {', '.join(sorted(names))}"
        )
    return {
        names[key]: _value(types[names[key]], value, f"{where}{key}")
        for key, value in stated.items()
    }


def _value(kind: Any, stated: object, where: str) -> Any:
    for one in (kind, *get_args(kind)):
        if dataclasses.is_dataclass(one) and get_origin(kind) is not Mapping:
            inner = one if isinstance(one, type) else type(one)
            return None if stated is None else _fields_of(inner, stated, f"{where}.")
    if isinstance(stated, Mapping) and get_args(kind):
        inner = get_args(kind)[-1]
        return {key: _value(inner, one, f"{where}.{key}") for key, one in stated.items()}
    if kind is str and isinstance(stated, int | float) and not isinstance(stated, bool):
        return str(stated)  # `cpu: 4` is a quantity too
    return stated


def _place(location: tuple[Any, ...]) -> str:
    return ".".join(to_camel(part) if isinstance(part, str) else str(part) for part in location)
