"""The commands ``surfshift hpc ...``: templates, init, check, estimate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Set up a cluster: templates, checks, estimates.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
WorkersArgument = Annotated[Path, typer.Argument(help="The workers' file.", metavar="WORKERS")]


@app.command()
def templates(
    name: Annotated[str | None, typer.Argument(help="Show the variables of this one.", metavar="NAME")] = None,
    *,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List the templates, or the variables of one."""
    del debug
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from .hpc.templates import load_template, template_names

    if as_json:
        import json

        found: list[dict[str, object]]
        if name is None:
            listed = {each: load_template(each) for each in template_names()}
            found = [{"name": k, "scheduler": t.scheduler, "description": t.description} for k, t in listed.items()]
        else:
            variables = load_template(name).variables.items()
            found = [{"name": k, "required": v.required, "default": v.default, "meaning": v.help} for k, v in variables]
        print(json.dumps(found, indent=1, default=str))
        return
    if name is None:
        table = Table("template", "scheduler", "for", box=None)
        for each in template_names():
            template = load_template(each)
            table.add_row(each, template.scheduler, Text(template.description))
    else:
        table = Table("variable", "default", "meaning", box=None)
        for key, variable in load_template(name).variables.items():
            default = "(required)" if variable.required else str(variable.default)
            table.add_row(key, Text(default), Text(variable.help))
    Console().print(table)


@app.command()
def init(
    template: Annotated[str, typer.Option("--template", help="Name of a template; see hpc templates.")],
    *,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A variable of the template; repeatable.", metavar="KEY=VALUE"),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="File to write.")] = Path("workers.yaml"),
    debug: DebugOption = False,
) -> None:
    """Write a workers' file from a template."""
    del debug
    from .hpc.errors import TemplateVariableError
    from .hpc.templates import write_workers

    values = {}
    for word in settings or ():
        key, sign, value = word.partition("=")
        if not sign:
            raise TemplateVariableError(f"--set {word!r} has no '='; write --set KEY=VALUE")
        values[key.strip()] = value
    write_workers(template, values, out)
    print(f"wrote {out}; try it with: surfshift hpc check {out}\nthen name it in a study:  run: {{hpc: {out}}}")


@app.command()
def check(
    workers: WorkersArgument,
    *,
    worker: Annotated[str | None, typer.Option("--worker", help="Only this one; all without it.")] = None,
    elements: Annotated[
        str, typer.Option("--elements", help="Look for UPF files, POTCARs of these: H,O,Al.", metavar="LIST")
    ] = "",
    wait: Annotated[float, typer.Option("--wait", help="Seconds that the job may wait in the queue.")] = 120.0,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Try every worker of a workers' file.

    Connects, writes into its folder, looks for the programs and runs a job of two seconds.
    """
    del debug
    import sys

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from .hpc.check import check_worker
    from .hpc.workers import load_workers
    from .potentials import elements_of

    file = load_workers(workers)
    wanted = elements_of(elements)
    named = [worker] if worker is not None else [name for name in file.workers if not file.is_pilot(name)]
    has_notes = False
    collected: dict[str, list[dict[str, object]]] = {}
    for name in named:

        def say(text: str, name: str = name) -> None:
            if sys.stderr.isatty():
                print(f"{name}: {text} ...", file=sys.stderr)

        findings = check_worker(file, name, elements=wanted, wait_seconds=wait, say=say)
        table = Table("", name, "found", "what to do", box=None)
        for finding in findings:
            table.add_row(finding.mark, finding.what, Text(finding.found), Text(finding.advice))
            has_notes = has_notes or bool(finding.advice)
        collected[name] = [{"mark": finding.mark, **finding.model_dump()} for finding in findings]
        if not as_json:
            Console().print(table)
    if as_json:
        import json

        print(json.dumps(collected, indent=1))
    if has_notes:
        raise typer.Exit(1)


@app.command()
def estimate(
    study: Annotated[Path, typer.Argument(help="The study file.", metavar="STUDY")],
    *,
    workers: Annotated[
        Path | None, typer.Option("--workers", help="Workers' file; the study's run.hpc without it.")
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Say what a study would cost.

    Core hours of every step, and what each job would ask the scheduler for.
    """
    del debug
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from .candidates import build_candidates
    from .hpc.estimate import estimate_study
    from .hpc.workers import load_workers
    from .study import load_study

    settings = load_study(study)
    named = workers or settings.run.hpc
    file = load_workers(named) if named else None
    costs = estimate_study(settings, build_candidates(settings), file)
    if as_json:
        import json

        print(json.dumps([cost.model_dump(mode="json") for cost in costs], indent=1))
        return
    table = Table("candidate", "step", "jobs", "core hours", "cores", "GB", "wall time h", "charged at most", box=None)
    for cost in costs:
        request = cost.request
        table.add_row(
            Text(cost.candidate),
            cost.step,
            str(cost.n_jobs),
            f"{cost.core_hours:.2f}",
            str(request.cores),
            f"{request.memory_gb:.1f}",
            f"{request.hours:.2f}",
            f"{cost.max_charged_core_hours:.1f}",
        )
    Console().print(table)
    total = sum(cost.core_hours for cost in costs)
    print(f"together about {total:.1f} core hours, right to a factor of about three")
    if settings.nmr.periodic is not None:
        print(f"that of the GIPAW jobs of {settings.nmr.engine} is a guess, ten times a ground state")
    if file and file.placement.limits.core_hours:
        print(f"budget in the workers' file: {file.placement.limits.core_hours:g} core hours")
