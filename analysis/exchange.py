"""Objects of other NMR programs, in and out: Soprano (through ase), mrsimulator, and inputs of SIMPSON.

Soprano works on ``ase.Atoms`` whose arrays ``ms`` and ``efg`` hold the numbers of a .magres file. There the rows of a
shielding are the external field, which is the transpose of this project's convention.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from ..structures.accepting import as_structure
from ..structures.errors import SurfshiftError
from .constants import isotope as nucleus_of
from .constants import larmor_mhz
from .tensor_files import tensors_of_sites
from .tensor_files.result import PeriodicTensors, build, numbered
from .vocabulary import Peak, PeakList

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ase import Atoms
    from mrsimulator import SpinSystem

    from ..structures.accepting import StructureLike
    from .vocabulary import PredictedSite, SiteTensors


class ExchangeError(SurfshiftError):
    """An object of another program that says too little, or a site that the other program cannot hold."""


def to_soprano(structure: StructureLike, sites: Sequence[SiteTensors]) -> Atoms:
    """A structure with its tensors as Soprano, and ase's reader of .magres files, have them.

    Returns
    -------
    Atoms with arrays ``ms`` (n, 3, 3) in ppm and ``efg`` (n, 3, 3) in atomic units; atoms without a tensor hold NaN.

    Raises
    ------
    TensorFileError
        As ``tensors_of_sites``.
    """
    structure = as_structure(structure)
    tensors = tensors_of_sites(structure, sites)
    atoms = structure.to_ase()
    empty = np.full((3, 3), np.nan)
    atoms.new_array("ms", np.array([empty if t is None else np.array(t).T for t in tensors.shielding_ppm]))
    atoms.new_array("efg", np.array([empty if t is None else np.array(t) for t in tensors.efg_au]))
    return atoms


def from_soprano(
    atoms: Atoms, *, engine: str = "unknown", engine_version: str = "", functional: str = "unknown"
) -> PeriodicTensors:
    """Tensors of ``ase.Atoms`` with the arrays ``ms`` and ``efg``; continue with ``site_tensors``.

    Parameters
    ----------
    atoms
        With ``ms`` (n, 3, 3) in ppm, ``efg`` (n, 3, 3) in atomic units, or both; NaN where there is none.
    engine, engine_version, functional
        What made them, which the object does not say. Tensors of different methods are never mixed.

    Raises
    ------
    ExchangeError
        If there is neither array.
    TensorFileError
        If the tensors are damaged.
    """
    if not {"ms", "efg"} & set(atoms.arrays):
        raise ExchangeError(
            "the atoms hold neither 'ms' nor 'efg'; read them from a .magres file, or set these arrays, (n, 3, 3)"
        )

    def tensors(name: str, *, transpose: bool) -> tuple[Any, ...]:
        if name not in atoms.arrays:
            return (None,) * len(atoms)
        found = []
        for raw in np.asarray(atoms.arrays[name], dtype=float).reshape(-1, 3, 3):
            kept = raw.T if transpose else 0.5 * (raw + raw.T) - np.eye(3) * np.trace(raw) / 3
            found.append(tuple(map(tuple, kept.tolist())) if np.isfinite(kept).all() else None)
        return tuple(found)

    elements = tuple(atoms.get_chemical_symbols())
    return build(
        "the atoms",
        lattice_ang=tuple(map(tuple, np.asarray(atoms.cell).tolist())),
        elements=elements,
        frac_coords=tuple(map(tuple, atoms.get_scaled_positions(wrap=False).tolist())),
        labels=numbered(elements),
        shielding_ppm=tensors("ms", transpose=True),
        efg_au=tensors("efg", transpose=False),
        engine=engine,
        engine_version=engine_version,
        functional=functional,
    )


def to_mrsimulator(sites: Iterable[PredictedSite]) -> list[SpinSystem]:
    """One mrsimulator spin system per predicted site, its abundance the share of the isotope's atoms in percent.

    mrsimulator takes shift anisotropies on the shielding scale, whose sign is opposite, and CQ in hertz. Tensors are
    coaxial: a prediction holds no angles between them.
    """
    from mrsimulator import Site, SpinSystem

    listed = list(sites)
    counts: dict[tuple[str, str], int] = {}
    for site in listed:
        counts[site.candidate_id, site.isotope] = counts.get((site.candidate_id, site.isotope), 0) + site.multiplicity
    systems = []
    for site in listed:
        coupling = {}
        if nucleus_of(site.isotope).is_quadrupolar and site.cq_mhz != 0.0:
            coupling = {"quadrupolar": {"Cq": site.cq_mhz * 1e6, "eta": site.eta_q}}
        made = Site(
            isotope=site.isotope,
            isotropic_chemical_shift=site.delta_iso_ppm,
            shielding_symmetric={"zeta": -site.zeta_csa_ppm, "eta": site.eta_csa},
            **coupling,
        )
        share = 100.0 * site.multiplicity / counts[site.candidate_id, site.isotope]
        name = f"{site.candidate_name}, {site.isotope} {site.atom_indices[0]}"
        systems.append(SpinSystem(name=name, sites=[made], abundance=share))
    return systems


def from_mrsimulator(
    systems: Iterable[SpinSystem],
    *,
    field_tesla: float,
    mas_rate_hz: float = 0.0,
    delta_error_ppm: float,
    cq_error_mhz: float = 0.1,
    eta_error: float = 0.1,
    name: str = "mrsimulator",
) -> PeakList:
    """Spin systems that were fitted to a spectrum, as a measured list of peaks; abundances become relative areas.

    Raises
    ------
    ExchangeError
        If a system holds no site or several, or there are several isotopes.
    """
    peaks, isotopes = [], set()
    for number, system in enumerate(systems, start=1):
        if len(system.sites) != 1:
            raise ExchangeError(f"spin system {number} holds {len(system.sites)} sites; give one site per system")
        site = system.sites[0]
        isotopes.add(site.isotope.symbol)
        coupling = site.quadrupolar
        is_coupled = coupling is not None and bool(coupling.Cq)
        eta = coupling.eta if is_coupled else None
        peaks.append(
            Peak(
                label=system.name or site.name or f"site {number}",
                delta_iso_ppm=float(site.isotropic_chemical_shift),
                delta_error_ppm=delta_error_ppm,
                cq_mhz=abs(float(coupling.Cq)) * 1e-6 if is_coupled else None,
                cq_error_mhz=cq_error_mhz if is_coupled else None,
                eta_q=None if eta is None else float(eta),
                eta_error=None if eta is None else eta_error,
                area=float(system.abundance) if system.abundance else None,
                area_error=0.1 * float(system.abundance) if system.abundance else None,
            )
        )
    if len(isotopes) != 1:
        raise ExchangeError(f"one isotope per list of peaks is needed, got {', '.join(sorted(isotopes)) or 'none'}")
    return PeakList(
        name=name, isotope=isotopes.pop(), field_tesla=field_tesla, mas_rate_hz=mas_rate_hz, peaks=tuple(peaks)
    )


def simpson_input(site: PredictedSite, *, field_tesla: float, mas_rate_hz: float, points: int = 2048) -> str:
    """A SIMPSON input (.in) that simulates the line of one predicted site after a pulse.

    Shifts and anisotropies are in ppm on the shift scale (suffix ``p``), CQ in hertz to second order; a half-integer
    quadrupolar nucleus shows its central transition. Syntax after Bak, Rasmussen and Nielsen, J. Magn. Reson. 147, 296
    (2000). It was not run here: SIMPSON is no dependency.

    Raises
    ------
    ExchangeError
        If the spinning rate is 0 or below; SIMPSON wants another input for static samples.
    """
    if not (math.isfinite(mas_rate_hz) and mas_rate_hz > 0 and math.isfinite(field_tesla) and field_tesla > 0):
        raise ExchangeError(f"a field and a spinning rate above 0 are needed, got {field_tesla} T and {mas_rate_hz} Hz")
    nucleus = nucleus_of(site.isotope)
    proton_hz = larmor_mhz(nucleus_of("1H"), field_tesla) * 1e6
    lines = [f"shift 1 {site.delta_iso_ppm:.4f}p {site.zeta_csa_ppm:.4f}p {site.eta_csa:.4f} 0 0 0"]
    detect = "I1p"
    if nucleus.is_half_integer_quadrupolar and site.cq_mhz != 0.0:
        lines.append(f"quadrupole 1 2 {site.cq_mhz * 1e6:.1f} {site.eta_q:.4f} 0 0 0")
        detect = "I1c"
    title = re.sub(r"[^\w .,()+-]", "_", f"{site.candidate_name}, {site.isotope} atom {site.atom_indices[0]}")
    width = 20 * mas_rate_hz
    return f"""# {title}; written by surfshift
spinsys {{
  channels {site.isotope}
  nuclei {site.isotope}
  {lines[0]}{"".join(chr(10) + "  " + line for line in lines[1:])}
}}
par {{
  proton_frequency {proton_hz:.1f}
  spin_rate        {mas_rate_hz:.1f}
  sw               {width:.1f}
  np               {points}
  crystal_file     rep320
  gamma_angles     20
  start_operator   I1x
  detect_operator  {detect}
  method           gcompute
  verbose          0
}}
proc pulseq {{}} {{
  global par
  acq_block {{
    delay [expr 1.0e6/$par(sw)]
  }}
}}
proc main {{}} {{
  global par
  set f [fsimpson]
  fzerofill $f [expr 4*$par(np)]
  faddlb $f 50 0
  fft $f
  fsave $f $par(name).spe
}}
"""
