"""Templates of workers: listed, filled in and written as a project file of jobflow-remote."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

import yaml

from ...structures.errors import nearest
from ...structures.vocabulary import Frozen
from ..files import write_atomically
from .errors import TemplateVariableError, UnknownTemplateError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PACKAGE = "surfshift.hpc_templates.workers"
COMMON = "common"
WORD = re.compile(r"[A-Za-z0-9._@=,:+/-]{0,200}")
PATH = re.compile(r"/[A-Za-z0-9._@=,:+/-]{0,400}")
EXECUTE = "-P -m surfshift.workflows.queue.execute {}"
PILOT_NAME = "{name}-pilot"

PROGRAM_KEYS = {
    "SURFSHIFT_CP2K": "cp2k",
    "SURFSHIFT_PW": "pw",
    "SURFSHIFT_VASP": "vasp",
    "SURFSHIFT_CASTEP": "castep",
    "SURFSHIFT_GIPAW": "gipaw",
    "SURFSHIFT_NWCHEM": "nwchem",
}
"""Variable of each program's launch line, and the template's variable that names the program."""

FOLDER_KEYS = {
    "CP2K_DATA_DIR": "cp2k_data",
    "SURFSHIFT_PW_UPF_DIR": "upf_folder",
    "SURFSHIFT_UPF_DIR": "gipaw_upf_folder",
    "PMG_VASP_PSP_DIR": "potcar_folder",
}

Scheduler = Literal["slurm", "pbs", "sge", "shell"]


class Variable(Frozen):
    """A variable of a template; ``kind`` says what a value may hold, see ``common.yaml``."""

    kind: Literal["word", "path", "text", "integer", "number"]
    default: str | int | float | None = None
    required: bool = False
    least: float | None = None
    help: str


@dataclass(frozen=True)
class Template:
    """A template with what it takes over from others.

    Attributes
    ----------
    name, description, source
        Name, what it is for, and the centre's page that its numbers come from.
    scheduler
        Kind of scheduler.
    variables
        Every variable by name.
    header
        Scheduler options that each job gets, as expressions of the variables.
    modules
        Expressions of lists of modules, separated by commas.
    flags
        ``module_purge``, ``whole_nodes``, ``gpu_request``.
    """

    name: str
    description: str
    source: str
    scheduler: Scheduler
    variables: dict[str, Variable]
    header: dict[str, str]
    modules: tuple[str, ...]
    flags: dict[str, Any] = field(default_factory=dict)


def template_names() -> tuple[str, ...]:
    """Names of all templates."""
    files = (entry.name for entry in resources.files(PACKAGE).iterdir())
    return tuple(sorted(name[:-5] for name in files if name.endswith(".yaml") and name != f"{COMMON}.yaml"))


@cache
def load_template(name: str) -> Template:
    """A template by its name.

    Raises
    ------
    UnknownTemplateError
        If there is none; the message names the nearest.
    """
    if name not in template_names():
        raise UnknownTemplateError(f"there is no template {name!r}; {nearest(name, template_names())}")
    merged = _merged(name)
    return Template(
        name=name,
        description=merged["description"],
        source=merged["source"],
        scheduler=merged["scheduler"],
        variables={key: Variable.model_validate(value) for key, value in merged["variables"].items()},
        header=merged["header"],
        modules=tuple(merged["modules"]),
        flags={key: merged.get(key) for key in ("module_purge", "whole_nodes", "gpu_request")},
    )


def _merged(name: str) -> dict[str, Any]:
    text = resources.files(PACKAGE).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    own: dict[str, Any] = yaml.safe_load(text)
    if name == COMMON:
        return own
    base = _merged(own.get("extends", COMMON))
    return {**base, **own, "variables": {**base["variables"], **own.get("variables", {})}}


def fill(template: Template, values: Mapping[str, str]) -> dict[str, str | int | float]:
    """Values of all variables: those given, checked, and the defaults of the others.

    Raises
    ------
    TemplateVariableError
        With every unknown, missing or unfit variable and what to do.
    """
    problems = [
        f"  {name}: the template {template.name} has no such variable, {nearest(name, template.variables)}"
        for name in values
        if name not in template.variables
    ]
    filled: dict[str, str | int | float] = {}
    for name, variable in template.variables.items():
        given = values.get(name)
        if given is None:
            if variable.required:
                problems.append(f"  {name}: is required ({variable.help}); give it with --set {name}=VALUE")
            filled[name] = "" if variable.default is None else variable.default
            continue
        try:
            filled[name] = _checked(variable, given)
        except ValueError as error:
            problems.append(f"  {name} = {given!r}: {error}")
    if problems:
        raise TemplateVariableError("\n".join([f"the template {template.name} cannot be filled in:", *problems]))
    return filled


def _checked(variable: Variable, given: str) -> str | int | float:
    if re.search(r"[\x00-\x1f\x7f\u2028\u2029\x85]", given):
        raise ValueError("a line break or control character has no place here")
    if variable.kind in {"word", "path"}:
        pattern = WORD if variable.kind == "word" else PATH
        if given and not pattern.fullmatch(given):
            what = "a plain word" if variable.kind == "word" else "an absolute path"
            raise ValueError(
                f"{what} of letters, digits and . _ - + : @ / = , is meant; anything else could be taken for a command"
            )
        return given
    if variable.kind == "text":
        return given
    number = (int if variable.kind == "integer" else float)(given)
    if variable.least is not None and not number >= variable.least:
        raise ValueError(f"must be at least {variable.least:g}")
    return number


def render(name: str, values: Mapping[str, str]) -> str:
    """Text of a project file of jobflow-remote.

    Parameters
    ----------
    name
        Template.
    values
        Variables by name, as text.

    Raises
    ------
    UnknownTemplateError, TemplateVariableError
    """
    import jinja2

    template = load_template(name)
    filled = fill(template, values)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
    header = {key: environment.from_string(text).render(filled) for key, text in template.header.items()}
    header = {key: value for key, value in header.items() if value}
    modules = [
        module.strip()
        for text in template.modules
        for module in environment.from_string(text).render(filled).split(",")
        if module.strip()
    ]
    body = resources.files("surfshift.hpc_templates").joinpath("worker_project.yaml.jinja").read_text(encoding="utf-8")
    pilot = PILOT_NAME.format(name=filled["name"]) if template.scheduler != "shell" else str(filled["name"])
    workers: list[dict[str, Any]] = [
        {
            "name": filled["name"],
            "max_jobs": filled["max_jobs"],
            "is_pilot": False,
            "resources": header,
            "pre_run": _pre_run(template, filled, modules),
        }
    ]
    if template.scheduler != "shell":
        workers.append({**_pilot(template, filled, header, pilot)})
        threads = max(1, int(filled["cores_per_node"]) // workers[1]["parallel_jobs"])
        workers[1]["pre_run"] = _pre_run(template, filled, modules, threads=threads)
    return environment.from_string(body).render(
        **{
            "parallel_environment": "",
            "chunk": "",
            "gpu_request": template.flags["gpu_request"] or "",
            "whole_nodes": template.flags["whole_nodes"],
            **filled,
        },
        template=template.name,
        description=template.description,
        source=template.source,
        scheduler=template.scheduler,
        header=header,
        workers=workers,
        pilot=pilot,
        base_dir=f"{filled['work_dir']}/queue",
        execution=f"{shlex.quote(str(filled['python']))} {EXECUTE}",
    )


def _pilot(
    template: Template, filled: Mapping[str, str | int | float], header: dict[str, str], name: str
) -> dict[str, Any]:
    """A worker whose scheduler jobs run many small jobs of the queue, side by side on the cores of one node."""
    from .resources import Limits, Request, native_resources

    cores = int(filled["cores_per_node"])
    limits = Limits(
        cores_per_node=cores,
        memory_gb_per_node=float(filled["memory_gb_per_node"]),
        max_nodes=1,
        max_hours=float(filled["max_hours"]),
        whole_nodes=bool(template.flags["whole_nodes"]),
        parallel_environment=str(filled.get("parallel_environment", "")),
        chunk=str(filled.get("chunk", "")),
    )
    hours = min(float(filled["pilot_hours"]), limits.max_hours)
    request = Request(cores=cores, memory_gb=limits.memory_gb_per_node, hours=hours, threads=cores)
    return {
        "name": name,
        "max_jobs": filled["pilot_jobs"],
        "is_pilot": True,
        "resources": {**header, **native_resources(template.scheduler, request, limits)},
        "parallel_jobs": max(1, min(cores, int(limits.memory_gb_per_node // 4))),
        "max_time": int(3600 * hours * 0.8),
    }


def _pre_run(
    template: Template, filled: Mapping[str, str | int | float], modules: list[str], *, threads: int | None = None
) -> list[str]:
    """Lines before each job: set-up file, modules, and how the programs are started. Every value is quoted."""
    lines = []
    if filled["setup"]:
        lines += ["# shellcheck source=/dev/null", f". {shlex.quote(str(filled['setup']))}"]
    if template.flags["module_purge"] and modules:
        lines.append("module purge")
    lines += [f"module load {shlex.quote(module)}" for module in modules]
    if threads is not None or template.scheduler != "slurm":
        lines.append(f"export OMP_NUM_THREADS={threads or 1}")
    else:
        lines.append('export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"')
        lines.append('export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"')
    launch = str(filled["launch"])
    for variable, key in PROGRAM_KEYS.items():
        if filled[key]:
            lines.append(f"export {variable}={shlex.quote(f'{launch} {filled[key]}'.strip())}")
    lines += [
        f"export {variable}={shlex.quote(str(filled[key]))}" for variable, key in FOLDER_KEYS.items() if filled[key]
    ]
    return lines


def write_workers(name: str, values: Mapping[str, str], path: Path) -> None:
    """Render a template into a file, which must not exist.

    Raises
    ------
    UnknownTemplateError, TemplateVariableError
        As ``render``.
    TemplateVariableError
        If the file exists; it is never overwritten.
    """
    text = render(name, values)
    if path.exists():
        raise TemplateVariableError(f"{path} exists and is not overwritten; choose another name with --out")
    write_atomically(path, text)
