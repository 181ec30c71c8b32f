"""Examples at the end of every command's help. A test reads each of them with the command line's own parser."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer
    from typer.models import CommandInfo

EXAMPLES: dict[str, tuple[str, ...]] = {
    "init": (
        "surfshift init",
        "surfshift init first.yaml --crystal AlPO4_berlinite --isotope 31P --bulk-only",
        "surfshift init latp.yaml --structure latp.cif --isotope 31P --isotope 27Al --miller 1,0,0",
        "surfshift init --crystal AlPO4_berlinite --isotope 31P --peaks peaks_31P.csv --field-tesla 9.4",
    ),
    "doctor": ("surfshift doctor", "surfshift doctor --elements H,O,Al,P --json"),
    "structures": (
        "surfshift structures study.yaml --plan",
        "surfshift structures study.yaml --rank --export cif,extxyz",
    ),
    "run": (
        "surfshift run study.yaml",
        "surfshift run study.yaml --adaptive",
        "surfshift run study.yaml --fresh --json",
    ),
    "status": (
        "surfshift status study.yaml",
        "surfshift status study.yaml --watch 10",
        "surfshift status study.yaml --json",
    ),
    "resume": (
        "surfshift resume study.yaml",
        "surfshift resume study.yaml --retry-failed",
        "surfshift resume study.yaml --all",
    ),
    "report": ("surfshift report study.yaml", "surfshift report study.yaml --json"),
    "view": (
        "surfshift view study.yaml",
        "surfshift view match-report",
        "surfshift view study.yaml --screening screening --port 8123 --no-browser",
    ),
    "archive": (
        "surfshift archive study.yaml",
        "surfshift archive study.yaml --out paper-data.zip",
        "surfshift archive --check paper-data.zip",
    ),
    "spectrum": (
        "surfshift spectrum lab/7/pdata/1",
        "surfshift spectrum powder.txt --isotope 31P --field-tesla 9.4 --mas-rate-hz 12500 --csdm powder.csdf",
    ),
    "match": (
        "surfshift match powder_31P.txt --library tensors --isotope 31P --field-tesla 9.4",
        "surfshift match drying.csv --library tensors --library study-run/report --out drying-report --json",
    ),
    "reference": (
        "surfshift reference --isotope 31P",
        "surfshift reference own.csv --isotope 27Al --engine vasp --functional PBE --protocol mine --out own.json",
    ),
    "screen": (
        "surfshift screen --electrolyte LATP --electrode Li --coating AlPO4 --coating Li3PO4",
        "surfshift screen --electrolyte LATP --electrode Li --coatings list.txt --json",
    ),
    "hpc templates": ("surfshift hpc templates", "surfshift hpc templates slurm"),
    "hpc init": (
        "surfshift hpc init --template local --set work_dir=/scratch/me --set python=/sw/me/bin/python",
        "surfshift hpc init --template slurm --set work_dir=/scratch/me --set python=/sw/me/bin/python "
        "--set host=login.cluster --set user=me",
    ),
    "hpc check": ("surfshift hpc check workers.yaml", "surfshift hpc check workers.yaml --worker cpu --wait 600"),
    "hpc estimate": (
        "surfshift hpc estimate study.yaml",
        "surfshift hpc estimate study.yaml --workers workers.yaml --json",
    ),
    "motion average": (
        "surfshift motion average AlPO4_berlinite --isotope 31P --timestep-fs 2",
        "surfshift motion average argyrodite.cif --isotope 35Cl --steps 5000 --model 7net-0 --folder argyrodite-300",
    ),
    "motion phonons": (
        "surfshift motion phonons AlPO4_berlinite --supercell 2 2 1 --follow 3",
        "surfshift motion phonons slab.cif --slab --supercell 2 2 1 --mesh 4 4 1 --temperature-k 393",
    ),
    "motion glass": (
        "surfshift motion glass AlPO4 --n-phosphorus 12 --model pair --melt-steps 2000 --quench-steps 8000",
        "surfshift motion glass LiPON --n-phosphorus 8 --n-nitrogen 3 --seed 2",
    ),
    "phases list": ("surfshift phases list Li-Al-P-O", "surfshift phases list Li-P-O --json"),
    "phases compute": ("surfshift phases compute rows.jsonl", "surfshift phases compute rows.jsonl --only Li3PO4"),
    "phases order": ("surfshift phases order LATP_x0.3 rows.jsonl --cells 2",),
    "phases table": ("surfshift phases table rows.jsonl table.json --version 2",),
}
"""By command, in the order of the help."""


def _name_of(command: CommandInfo) -> str:
    return command.name or (command.callback.__name__.replace("_", "-") if command.callback else "")


def add_examples(app: typer.Typer, prefix: str = "") -> None:
    """Sort the commands of an application, and put the examples under their help and that of those inside it."""
    order = {name: place for place, name in enumerate(EXAMPLES)}
    app.registered_commands.sort(key=lambda command: order.get(f"{prefix}{_name_of(command)}", len(order)))
    for command in app.registered_commands:
        if examples := EXAMPLES.get(f"{prefix}{_name_of(command)}", ()):
            command.epilog = "\b\n" + "\n".join(["Examples:", *(f"  {example}" for example in examples)])
    for group in app.registered_groups:
        if group.typer_instance is not None and isinstance(group.name, str):
            add_examples(group.typer_instance, f"{prefix}{group.name} ")
