"""The study file that ``surfshift init`` writes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .study_yaml import StudyError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

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
  engine: cluster                # GIAO-DFT on clusters cut around each site
  protocol: fast                 # or balanced, stringent, hybrid (PBE0 by NWChem)
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
#     experiment: one-pulse      # or echo, cp, trapdor
#     sample: before             # only with several samples, which then share candidates
#   - spectrum: spectrum_27Al.txt  # or a Bruker folder, .jdx, .csdf; what the file states may be left out
#     isotope: 27Al
#     field_tesla: 9.4
#     mas_rate_hz: 12500         # 0 for a static sample

matching:
  always_present: [bulk]         # candidates that are known to be in the sample

run:
  adaptive: false                # true: only the tensors that the verdict needs
  parallel_jobs: 2
  memory_gb: 8

# export: {formats: [cif]}       # files that surfshift structures writes: cif, poscar, extxyz
"""


def write_template(
    path: Path,
    *,
    crystal: str | None = None,
    structure: Path | None = None,
    isotopes: Sequence[str] = (),
    facets: Sequence[str] = (),
    peaks: Path | None = None,
    field_tesla: float | None = None,
) -> None:
    """Write a commented study file, with what is given filled in; the file is one that can be run.

    Raises
    ------
    StudyError
        If the file exists; it is never overwritten. Or if what is given does not go together.
    """
    text = filled(
        crystal=crystal,
        structure=structure,
        isotopes=isotopes,
        facets=facets,
        peaks=peaks,
        field_tesla=field_tesla,
        folder=path.parent,
    )
    if path.is_dir():
        raise StudyError(f"{path} is a folder; give the name of a file, for example {path / 'study.yaml'}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise StudyError(f"{path} exists and is not overwritten; choose another name") from error


def filled(
    *,
    crystal: str | None,
    structure: Path | None,
    isotopes: Sequence[str],
    facets: Sequence[str],
    peaks: Path | None,
    field_tesla: float | None,
    folder: Path,
) -> str:
    """The template with a user's crystal, nuclei, facets and peaks.

    Raises
    ------
    StudyError
        If they do not go together.
    """
    text = TEMPLATE
    if crystal is not None and structure is not None:
        raise StudyError("give either --crystal NAME (library) or --structure FILE, not both")
    if peaks is not None and (field_tesla is None or not isotopes):
        raise StudyError("--peaks needs --isotope and --field-tesla: a list of peaks does not state them")
    if crystal is not None:
        from ..structures.library import load_crystal

        load_crystal(crystal)
        text = text.replace("crystal: AlPO4_berlinite", f"crystal: {crystal}", 1)
    if structure is not None:
        text = text.replace("crystal: AlPO4_berlinite ", "# crystal: AlPO4_berlinite ", 1)
        text = text.replace("# structure: my-crystal.cif      #", f"structure: {_as_yaml(structure, folder)}  #", 1)
    name = crystal or (structure.stem if structure is not None else "")
    if name:
        text = text.replace(
            "study: my-alpo4", f"study: {re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('.-_')[:60] or 'study'}", 1
        )
    if isotopes:
        text = text.replace("isotopes: [27Al, 31P]", f"isotopes: [{', '.join(isotopes)}]", 1)
    if facets:
        start, end = text.index("    - miller: [1, 0, 0]"), text.index("    # - max_miller: 1")
        block = text[start:end]
        blocks = [block.replace("[1, 0, 0]", f"[{', '.join(map(str, _miller(facet)))}]", 1) for facet in facets]
        text = text[:start] + "".join(blocks) + text[end:]
    if peaks is not None:
        start, end = text.index("# measured:"), text.index("matching:\n")
        lines = [
            "measured:",
            f"  - peaks: {_as_yaml(peaks, folder)}",
            f"    isotope: {isotopes[0]}",
            f"    field_tesla: {field_tesla:g}",
            "    # mas_rate_hz: 12500        # spinning rate, 0 for a static sample",
            "    # experiment: one-pulse     # or echo, cp, trapdor",
        ]
        text = text[:start] + "\n".join(lines) + "\n\n" + text[end:]
    return text


def _miller(text: str) -> tuple[int, int, int]:
    parts = [part for part in re.split(r"[,\s]+", text.strip("[]() ")) if part]
    try:
        h, k, l = (int(part) for part in parts)  # noqa: E741  (the letters of crystallography)
    except ValueError as error:
        raise StudyError(f"--miller {text!r} is no facet; give three integers, for example --miller 1,0,0") from error
    if (h, k, l) == (0, 0, 0):
        raise StudyError("--miller 0,0,0 is no facet; give three integers that are not all zero")
    return h, k, l


def _as_yaml(path: Path, folder: Path) -> str:
    """A path as a YAML string, from the folder of the study file where it lies beside or below it."""
    import json

    whole, base = path.expanduser().resolve(), folder.expanduser().resolve()
    return json.dumps(str(whole.relative_to(base) if whole.is_relative_to(base) else whole), ensure_ascii=False)
