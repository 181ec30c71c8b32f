"""The study file that ``surfshift init`` writes."""

from __future__ import annotations

import json
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .study_yaml import StudyError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

USUAL_ABUNDANCE_PERCENT = 4.0
"""Nuclei above this natural abundance are measured without enrichment: 29Si is, 17O is not."""

TEMPLATE = """\
# A surfshift study. Every key is checked; a key that is left out has the value shown here,
# unless it is marked as required. Paths count from the folder of this file.

study: my-alpo4                  # required: name of the study and of its run folder

crystal: AlPO4_berlinite         # required: a crystal of the library ...
# structure: my-crystal.cif      # ... or a file of your own instead

candidates:
  bulk: true                     # the bulk phase is a candidate
  surfaces:                      # facets to cut; none without this list
    - miller: [1, 0, 0]
      thickness_ang: 8           # angstrom
      vacuum_ang: 12             # angstrom
      hydroxylation: [0, 1.0]    # share of broken bonds healed by split water
      max_atoms: 120
      # keep: [t0]               # only these terminations
      # reconstruct: true        # move ions of polar cuts until the dipole is gone
      # decorations:             # on every dry slab; kinds and their keys: docs/decorations.md
      #   - {kind: molecular_water, coverage: 1.0}
      #   - [{kind: split_water}, {kind: grafted_silane, supercell: auto}]   # one after the other
    # - max_miller: 1            # every symmetry-distinct facet up to this index
  # ordering: {cells: 2, seed: 0}  # of a crystal with partial occupancies: so many ordered cells
  # interfaces:                  # a film on a facet of the study's crystal
  #   - film: Li3PO4_gamma       # or film_structure: FILE
  #     film_miller: [0, 0, 1]
  #     miller: [1, 0, 0]
  #     max_strain: 0.05
  max_candidates: 300            # more are refused before they are built

relax:
  model: 7net-l3i5               # SevenNet potential; or 7net-0, or chgnet (pip install surfshift[chgnet])
  fmax_ev_per_ang: 0.03          # largest force left, eV per angstrom
  max_steps: 300
  mode: symmetric                # or fixed-bottom
  relax_bulk_cell: false         # the literature cell is kept
  relax_bulk_positions: true

nmr:
  engine: cluster                # GIAO-DFT on clusters cut around each site; or castep, vasp, qe with GIPAW
  protocol: fast                 # or balanced, stringent; with cluster also hybrid (PBE0 by NWChem)
  # numbers: {cutoff_ev: 800}    # of castep, vasp and qe: numbers of the protocol to replace
  isotopes: [27Al, 31P]          # required
  sites: all                     # or surface: a slab's bulk-like sites are left to the bulk candidate
  # references: own.json         # references of your own, from surfshift reference --out own.json

# motion:                        # tensors averaged over molecular dynamics (SevenNet), beside those at rest
#   candidates: [bulk]           # names of candidates; all without it
#   isotopes: [31P]              # all of nmr.isotopes without it
#   sites: [P3]                  # element and number of an atom; all without it
#   n_snapshots: 8
#   shift_from: rest             # or average, for references of your own fitted to averaged compounds
#   dynamics: {temperature_k: 300, timestep_fs: 1.0, equilibration_steps: 500, steps: 2000}

# measured:                      # without it, shifts are predicted and nothing is matched
#   - peaks: peaks_31P.csv       # columns such as delta_iso_ppm, delta_error_ppm
#     isotope: 31P
#     field_tesla: 9.4
#     mas_rate_hz: 12500
#     experiment: one-pulse      # or echo, cp, trapdor, mqmas, redor
#     transfer: {contact_time_ms: 1.0}  # of CP; dephasing_isotope and dephasing_time_ms of REDOR and TRAPDOR
#     sample: before             # only with several samples, which then share candidates
#   - spectrum: spectrum_27Al.txt  # or a Bruker folder, .jdx, .csdf; what the file states may be left out
#     isotope: 27Al
#     field_tesla: 9.4
#     mas_rate_hz: 12500         # 0 for a static sample
#     satellites: 0.0            # 1: with the satellite transitions that a short pulse excites

# given_phases: known.yaml       # phases known by measured lines, such as Li metal, weighed beside the candidates

matching:
  always_present: [bulk]         # candidates that are known to be in the sample

run:
  adaptive: false                # true: only the tensors that the verdict needs
  # hpc: workers.yaml            # jobs go to a cluster: surfshift hpc init
  parallel_jobs: 2
  memory_gb: 8

# export: {formats: [cif]}       # files that surfshift structures writes: cif, poscar, extxyz
"""


@dataclass(frozen=True)
class Choices:
    """What a user wants in a study file; what is left out stays as in the template.

    ``facets`` are texts such as ``1,0,0``; None keeps the template's facet and an empty list means the bulk alone.
    ``measured`` is a list of peaks or a spectrum, and the keys after it are of that measurement.
    """

    crystal: str | None = None
    structure: Path | None = None
    isotopes: Sequence[str] = ()
    facets: Sequence[str] | None = None
    measured: Path | None = None
    is_peaks: bool = True
    measured_isotope: str | None = None
    field_tesla: float | None = None
    mas_rate_hz: float | None = None
    experiment: str | None = None
    hpc: Path | None = None


def check_free(path: Path) -> None:
    """Refuse a place where no new file can be written.

    Raises
    ------
    StudyError
        If there is a file or a folder; it is never overwritten.
    """
    if path.is_dir():
        raise StudyError(f"{path} is a folder; give the name of a file, for example {path / 'study.yaml'}")
    if path.exists():
        raise StudyError(f"{path} exists and is not overwritten; choose another name: surfshift init OTHER.yaml")


def write_template(path: Path, choices: Choices | None = None) -> None:
    """Write a commented study file, with what is given filled in; the file is one that can be run.

    Raises
    ------
    StudyError
        If the file exists, or what is given does not go together or does not exist. Nothing is written then.
    """
    from .study import load_study

    check_free(path)
    text = filled(choices or Choices(), path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".yaml")
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        draft.chmod(0o644)
        try:
            load_study(draft)
        except StudyError as error:
            told = str(error).partition(":\n")[2] or str(error)
            raise StudyError(f"no study file was written, it could not be used:\n{told}") from error
        try:
            os.link(draft, path)  # unlike a renaming, never over a file that came in between
        except FileExistsError:
            check_free(path)
            raise
    finally:
        draft.unlink(missing_ok=True)


def filled(choices: Choices, folder: Path) -> str:
    """The template with a user's choices; paths in it count from a folder.

    Raises
    ------
    StudyError
        If they do not go together.
    """
    text = TEMPLATE
    crystal, structure, isotopes = choices.crystal, choices.structure, tuple(choices.isotopes)
    if crystal is not None and structure is not None:
        raise StudyError("give either --crystal NAME (library) or --structure FILE, not both")
    if crystal is not None:
        text = text.replace("crystal: AlPO4_berlinite", f"crystal: {crystal}", 1)
    if structure is not None:
        text = text.replace("crystal: AlPO4_berlinite ", "# crystal: AlPO4_berlinite ", 1)
        text = text.replace("# structure: my-crystal.cif      #", f"structure: {_as_yaml(structure, folder)}  #", 1)
    present = elements_of(crystal, structure)
    isotopes = isotopes or usual_isotopes(present)
    if not isotopes:
        raise StudyError(
            f"no nucleus of {', '.join(sorted(present))} is both usual in NMR and light enough for the cluster engine; "
            "name one with --isotope"
        )
    for isotope in isotopes:
        check_isotope(isotope, present)
    name = crystal or (structure.stem if structure is not None else "")
    if name:
        text = text.replace(
            "study: my-alpo4", f"study: {re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('.-_')[:60] or 'study'}", 1
        )
    text = text.replace("isotopes: [27Al, 31P]", f"isotopes: [{', '.join(isotopes)}]", 1)
    text = _with_facets(text, choices.facets)
    if choices.measured is not None:
        start, end = text.index("# measured:"), text.index("matching:\n")
        text = text[:start] + "\n".join(_measured(choices, isotopes, folder)) + "\n\n" + text[end:]
    if choices.hpc is not None:
        text = text.replace("# hpc: workers.yaml            #", f"hpc: {_as_yaml(choices.hpc, folder)}  #", 1)
    return text


def elements_of(crystal: str | None, structure: Path | None) -> frozenset[str]:
    """Elements of a crystal of the library, or of a structure file; those of the template without either.

    Raises
    ------
    SurfshiftError
        If there is no such crystal, or the file is no structure.
    """
    if structure is not None:
        if not structure.expanduser().is_file():
            raise StudyError(f"there is no structure file {structure}; check the path")
        from ..structures.importing import read_disordered

        return frozenset(read_disordered(structure.expanduser()).composition)
    from ..structures.library import load_crystal

    return frozenset(site.element for site in load_crystal(crystal or "AlPO4_berlinite").sites)


def usual_isotopes(elements: Collection[str]) -> tuple[str, ...]:
    """The most abundant isotope of each element that is measured without enrichment and that the engine computes."""
    from ase.data import atomic_numbers

    from ..analysis.constants import isotopes
    from .engines.molecule import HEAVIEST_ALL_ELECTRON

    best: dict[str, str] = {}
    table = isotopes()
    for name, nucleus in table.items():
        if (
            nucleus.element in elements
            and nucleus.abundance_percent > USUAL_ABUNDANCE_PERCENT
            and atomic_numbers[nucleus.element] <= HEAVIEST_ALL_ELECTRON
        ):
            known = best.get(nucleus.element)
            if known is None or nucleus.abundance_percent > table[known].abundance_percent:
                best[nucleus.element] = name
    return tuple(best[element] for element in sorted(best))


def check_isotope(isotope: str, elements: Collection[str]) -> None:
    """Refuse a nucleus that is not known, or of which the crystal has none; hydrogen comes with water.

    Raises
    ------
    SurfshiftError
        With the nuclei that can be had.
    """
    from ..analysis.constants import isotope as constants_of

    element = constants_of(isotope).element
    if element not in {*elements, "H"}:
        raise StudyError(
            f"{isotope}: the crystal holds no {element}, only {', '.join(sorted(elements))}; "
            f"its usual nuclei are {', '.join(usual_isotopes(elements))}"
        )


def miller_of(text: str) -> tuple[int, int, int]:
    """Three integers from a text such as ``1,0,0``.

    Raises
    ------
    StudyError
        If it is no facet.
    """
    parts = [part for part in re.split(r"[,\s]+", text.strip("[]() ")) if part]
    try:
        h, k, l = (int(part) for part in parts)  # noqa: E741  (the letters of crystallography)
    except ValueError as error:
        raise StudyError(f"{text!r} is no facet; give three integers, for example 1,0,0") from error
    if (h, k, l) == (0, 0, 0):
        raise StudyError("0,0,0 is no facet; give three integers that are not all zero")
    return h, k, l


def _with_facets(text: str, facets: Sequence[str] | None) -> str:
    if facets is None:
        return text
    start, end = text.index("    - miller: [1, 0, 0]"), text.index("    # - max_miller: 1")
    block = text[start:end]
    if not facets:
        block = "".join(f"    # {line[4:]}\n" for line in block.splitlines() if not line.strip().startswith("#"))
        return (text[:start] + block + text[end:]).replace(
            "  surfaces:                      #", "  # surfaces:       #", 1
        )
    return (
        text[:start]
        + "".join(block.replace("[1, 0, 0]", f"[{', '.join(map(str, miller_of(facet)))}]", 1) for facet in facets)
        + text[end:]
    )


def _measured(choices: Choices, isotopes: Sequence[str], folder: Path) -> list[str]:
    assert choices.measured is not None
    if choices.is_peaks and choices.field_tesla is None:
        raise StudyError("--peaks needs --field-tesla: a list of peaks does not state the field")
    isotope = choices.measured_isotope or (isotopes[0] if choices.is_peaks else None)
    lines = ["measured:", f"  - {'peaks' if choices.is_peaks else 'spectrum'}: {_as_yaml(choices.measured, folder)}"]
    lines += [f"    isotope: {isotope}"] if isotope else ["    # isotope: 31P              # where the file lacks it"]
    for key, value, advice in (
        ("field_tesla", choices.field_tesla, "9.4             # where the file lacks it"),
        ("mas_rate_hz", choices.mas_rate_hz, "12500           # spinning rate, 0 for a static sample"),
        ("experiment", choices.experiment, "one-pulse        # or echo, cp, trapdor, mqmas, redor"),
    ):
        shown = f"{value:g}" if isinstance(value, float) else value
        lines.append(f"    # {key}: {advice}" if value is None else f"    {key}: {shown}")
    return lines


def _as_yaml(path: Path, folder: Path) -> str:
    """A path as a YAML string, from the folder of the study file where it lies beside or below it."""
    whole, base = path.expanduser().resolve(), folder.expanduser().resolve()
    return json.dumps(str(whole.relative_to(base) if whole.is_relative_to(base) else whole), ensure_ascii=False)
