"""The study file that ``surfshift init`` writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .study_yaml import StudyError

if TYPE_CHECKING:
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
  model: 7net-l3i5               # SevenNet potential
  fmax_ev_per_ang: 0.03          # largest force left, eV per angstrom
  max_steps: 300
  mode: symmetric                # or fixed-bottom
  relax_bulk_cell: false         # the literature cell is kept
  relax_bulk_positions: true

nmr:
  engine: cluster                # GIAO-DFT on clusters cut around each site
  protocol: fast                 # or balanced, stringent
  isotopes: [27Al, 31P]          # required
  sites: all                     # or surface: a slab's bulk-like sites are left to the bulk candidate
  # references: own.json         # references of your own, from surfshift reference --out own.json

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


def write_template(path: Path) -> None:
    """Write a commented study file.

    Raises
    ------
    StudyError
        If the file exists; it is never overwritten.
    """
    if path.is_dir():
        raise StudyError(f"{path} is a folder; give the name of a file, for example {path / 'study.yaml'}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError as error:
        raise StudyError(f"{path} exists and is not overwritten; choose another name") from error
