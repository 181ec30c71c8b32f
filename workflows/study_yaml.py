"""YAML with line numbers, and pydantic errors told in the words of the file."""

from __future__ import annotations

import typing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel

from ..structures.errors import SurfshiftError, nearest

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import ValidationError

Place = tuple[str | int, ...]

PLAIN_MESSAGES = {
    "missing": "this key is required",
    "extra_forbidden": "unknown key",
    "model_type": "a block of keys is expected here",
    "tuple_type": "a list is expected here",
}


class StudyError(SurfshiftError):
    """A study file that cannot be used."""


def dotted(place: Place) -> str:
    """A place in the way it is written in messages, for example ``candidates.surfaces[0].miller``."""
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


@dataclass
class Lines:
    """First line, counted from 1, of every place of a YAML file."""

    numbers: dict[Place, int] = field(default_factory=dict)

    def place(self, place: Place) -> str:
        """A place with its line, or with the line of the nearest block that the file has."""
        for end in range(len(place), 0, -1):
            if place[:end] in self.numbers:
                return f"line {self.numbers[place[:end]]}, {dotted(place)}"
        return dotted(place) or "the whole file"


class _NumberedLoader(yaml.SafeLoader):
    """Safe YAML; the nodes are looked at for their lines and for keys that are given twice."""


def _collect(node: yaml.Node, place: Place, lines: Lines, file: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*place, str(key.value))
            if inner in lines.numbers:
                raise StudyError(
                    f"{file}, line {key.start_mark.line + 1}: the key {dotted(inner)} is given twice "
                    f"(first in line {lines.numbers[inner]}); keep one of them"
                )
            lines.numbers[inner] = key.start_mark.line + 1
            _collect(value, inner, lines, file)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines.numbers[(*place, index)] = value.start_mark.line + 1
            _collect(value, (*place, index), lines, file)


def parse_yaml(file: Path) -> tuple[dict[str, Any], Lines]:
    """Content of a YAML file whose top is a block of keys, with the line of every place.

    Raises
    ------
    StudyError
        If the file cannot be read, is not YAML, gives a key twice or holds no keys.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise StudyError(
            f"there is no study file {file}; check the path, or write one with 'surfshift init {file}'"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"the study file {file} cannot be read: {error}") from error
    lines = Lines()
    try:
        node = yaml.compose(text, Loader=_NumberedLoader)
        if node is not None:
            _collect(node, (), lines, file)
        data = yaml.load(text, Loader=_NumberedLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise StudyError(f"{file}{where}: this is not valid YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise StudyError(f"{file}: this is not valid YAML: {error}") from error
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise StudyError(f"{file} holds no study: a block of keys such as 'study: NAME' is expected")
    return data, lines


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in typing.get_args(annotation):
        if (found := _model_in(argument)) is not None:
            return found
    return None


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in _models_in(argument)]


def _model_at(model: type[BaseModel], place: Place) -> type[BaseModel] | None:
    """The model whose keys stand at a place; list indices do not change the model, a kind picks one of several."""
    found: type[BaseModel] | None = model
    annotation: Any = model
    for step in place:
        if isinstance(step, int) or found is None:
            continue
        if step in found.model_fields:
            annotation = found.model_fields[step].annotation
            found = _model_in(annotation)
        else:
            kinds = [m for m in _models_in(annotation) if "kind" in m.model_fields]
            found = next((m for m in kinds if m.model_fields["kind"].default == step), None)
    return found


def _in_file(place: Place, lines: Lines, *, is_missing: bool) -> Place:
    """A place of pydantic without the steps that the file does not have: kinds, and lists that may be left out."""
    known: Place = ()
    for step in place:
        if (*known, step) in lines.numbers:
            known = (*known, step)
    return (*known, place[-1]) if is_missing else known


def explain(error: ValidationError, model: type[BaseModel], file: Path, lines: Lines) -> str:
    """All problems of a validation, one per line, with place, line and what to do."""
    problems = []
    for detail in error.errors(include_url=False):
        place: Place = detail["loc"]
        message = PLAIN_MESSAGES.get(detail["type"], detail["msg"].removeprefix("Value error, "))
        if detail["type"] == "extra_forbidden":
            owner = _model_at(model, place[:-1])
            message += f", {nearest(str(place[-1]), owner.model_fields)}" if owner else ""
        elif detail["type"] == "union_tag_invalid":
            known = detail["ctx"]["expected_tags"].replace("'", "").split(", ")
            message = f"unknown kind {detail['ctx']['tag']!r}, {nearest(str(detail['ctx']['tag']), known)}"
        elif detail["type"] == "union_tag_not_found":
            message = "this block needs a kind, for example 'kind: molecular_water'"
        elif (
            detail["type"] not in PLAIN_MESSAGES
            and not isinstance(detail["input"], dict | list)
            and repr(detail["input"]) not in message
        ):
            message += f" (given: {detail['input']!r})"
        where = _in_file(place, lines, is_missing=detail["type"] == "missing")
        problems.append(f"  {lines.place(where)}: {message}")
    return "\n".join([f"{file} cannot be used:", *problems])
