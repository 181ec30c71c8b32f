"""Small outputs in each program's format, made from known tensors, so that the readers run without the shared data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from surfshift.analysis.tensor_files.result import PeriodicTensors, build, numbered
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.vocabulary import as_tensor3

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

V_PER_ANG2 = 97.17362
BOHR = 0.529177210903


def invented(seed: int = 1, crystal: str = "AlPO4_berlinite") -> PeriodicTensors:
    """Random tensors on the atoms of a library crystal, species in blocks as VASP wants them."""
    rng = np.random.default_rng(seed)
    structure = build_crystal(load_crystal(crystal))
    order = sorted(range(len(structure)), key=lambda k: structure.elements[k])
    elements = tuple(structure.elements[k] for k in order)
    shielding, efg = [], []
    for _ in order:
        shielding.append(as_tensor3(rng.normal(0.0, 20.0, (3, 3)) + 300.0 * np.eye(3)))
        raw = rng.normal(0.0, 0.3, (3, 3))
        raw = raw + raw.T
        efg.append(as_tensor3(raw - np.eye(3) * np.trace(raw) / 3.0))
    return build(
        "invented",
        lattice_ang=structure.lattice_ang,
        elements=elements,
        frac_coords=tuple(structure.frac_coords[k] for k in order),
        labels=numbered(elements),
        shielding_ppm=tuple(shielding),
        efg_au=tuple(efg),
        engine="castep",
        engine_version="24.1",
        functional="pbe",
        cutoff_ev=700.0,
        macroscopic="sphere",
        potentials={element: f"{element} potential" for element in set(elements)},
    )


def outcar_text(run: PeriodicTensors, *, nelm: int = 60) -> str:
    """An OUTCAR with the tensors of ``run`` (species in blocks); core shifts and the G = 0 term are invented."""
    species = sorted(set(run.elements), key=run.elements.index)
    counts = [run.elements.count(element) for element in species]
    core = {element: -100.0 * (k + 1) for k, element in enumerate(species)}
    g0 = np.array([[-5.0, 0.04, -0.05], [0.04, -5.1, -0.04], [-0.05, -0.04, -5.2]])
    volume = abs(np.linalg.det(run.lattice))
    core_chi = -40.0
    core_g0 = 8.0 * np.pi / 3.0 * core_chi / (volume * 1e-24 * 6.02214076e23)
    cart = np.array(run.frac_coords) @ run.lattice
    out = [" vasp.6.4.2 20Jul23 (build Apr 30 2024 10:50:56) complex", "  ", " INCAR:", "   LCHIMAG = .TRUE."]
    for element in species:
        out += [f"   VRHFIN ={element}: s2p1", "   LEXCH  = PE", f"   TITEL  = PAW_PBE {element} 04Jan2001"]
    out += [
        f"   number of dos      NEDOS =    301   number of ions     NIONS = {len(run):6d}",
        "   ions per type =  " + " ".join(f"{count:4d}" for count in counts),
        "   ENCUT  =  600.0 eV  44.10 Ry    6.64 a.u.",
        f"   NELM   =  {nelm:5d};   NELMIN=  8; NELMDL= -5     # of ELM steps",
        "   NSW    =      0    number of steps for IOM",
        "   ISYM   =      0    0-nonsym 1-usesym 2-fastsym",
        "   GGA     =    --    GGA type",
        "   LEXCH   =     8    internal setting for exchange type",
        "   LCHIMAG   =     T  perturbation theory with respect to B field",
        "      direct lattice vectors                 reciprocal lattice vectors",
    ]
    reciprocal = np.linalg.inv(run.lattice).T
    out += ["  " + "".join(f"{x:14.9f}" for x in [*run.lattice[k], *reciprocal[k]]) for k in range(3)]
    out += ["", " position of ions in fractional coordinates (direct lattice) "]
    out += ["  " + "".join(f"{x % 1.0:12.8f}" for x in frac) for frac in run.frac_coords]
    out += ["", "--------------------------------------- Iteration    1(   1)  -------------------"]
    out += ["--------------------------------------- Iteration    1(   2)  -------------------"]
    out += ["------------------------ aborting loop because EDIFF is reached -----------------"]
    out += [" POSITION                                       TOTAL-FORCE (eV/Angst)", " " + "-" * 80]
    out += ["".join(f"{x:13.5f}" for x in [*p, 0.0, 0.0, 0.0]) for p in cart]
    dashes = "-" * 69
    out += ["", " Electric field gradients (V/A^2)", dashes, " ion  V_xx V_yy V_zz V_xy V_xz V_yz", dashes]
    for k, tensor in enumerate(run.efg_au):
        v = np.array(tensor) * V_PER_ANG2
        six = [v[0, 0], v[1, 1], v[2, 2], v[0, 1], v[0, 2], v[1, 2]]
        out.append(f"{k + 1:4d}  " + "".join(f"{x:10.3f}" for x in six))
    out += [dashes, "", " Absolute Chemical Shift tensors", " " + dashes]
    for head in (" UNSYMMETRIZED TENSORS ", "  SYMMETRIZED TENSORS "):
        out.append(head)
        for k, tensor in enumerate(run.shielding_ppm):
            total = -np.array(tensor).T
            valence = total - g0 - (core[run.elements[k]] + core_g0) * np.eye(3)
            out.append(f" ion {k + 1:4d}")
            out += ["".join(f"{x:18.6f}" for x in row) for row in valence]
    out += ["", " G=0 CONTRIBUTION TO CHEMICAL SHIFT (field along BDIR) "]
    out += ["  using pGv susceptibility, excluding core contribution", dashes, "   BDIR      X       Y       Z", dashes]
    out += [f"{k + 1:6d}" + "".join(f"{x:18.6f}" for x in g0[k]) for k in range(3)]
    out += [dashes, "  Core NMR properties        ", "", "  typ  El   Core shift (ppm)", " " + "-" * 28]
    out += [f"{k + 1:5d}  {element:2s} {core[element]:15.7f}" for k, element in enumerate(species)]
    out += [
        " " + "-" * 28,
        "",
        f"  Core contribution to magnetic susceptibility: {core_chi:9.2f}  10^-6 cm^3/mole",
        dashes,
    ]
    out += ["  (absolute, valence and core)   "]
    g0_iso = np.trace(g0) / 3.0 + core_g0
    for k, tensor in enumerate(run.shielding_ppm):
        iso = -np.trace(np.array(tensor)) / 3.0
        out.append(f"{k + 1:6d}" + "".join(f"{x:12.4f}" for x in (iso - g0_iso, 40.0, 0.4, iso, 40.0, 0.4)))
    out += ["", " General timing and accounting informations for this job:", " " + "=" * 50, ""]
    return "\n".join(out)


def gipaw_text(run: PeriodicTensors, job: str) -> str:
    """What gipaw.x prints for one job."""
    out = ["", "     Program GIPAW v.7.4.1 starts on 26Mar2025 at 11:41:44 ", "", f"     GIPAW job: {job}"]
    if job == "nmr":
        out += ["     NMR macroscopic correction: yes", "", "     Total NMR chemical shifts in ppm: -----------", ""]
        for k, tensor in enumerate(run.shielding_ppm):
            raw = np.array(tensor).T
            name = run.elements[k]
            head = f"     Atom{k + 1:3d}  {name:3s} pos: (  0.1 -0.2  0.3)  Total sigma:{np.trace(raw) / 3.0:15.2f}"
            out += [head, *("     " + "".join(f"{x:15.4f}" for x in row) for row in raw), ""]
    else:
        for head in ("total EFG", "total EFG (symmetrized)"):
            out += [f"     ----- {head} -----"]
            for k, tensor in enumerate(run.efg_au):
                rows = (f"     {run.elements[k]:2s} {k + 1:6d}" + "".join(f"{x:16.6f}" for x in row) for row in tensor)
                out += [*rows, ""]
        out += ["     Si      1    Vxx=   -0.0123    axis=(  0.1  0.2  0.3)"]
    return "\n".join([*out, "", "   JOB DONE.", "=" * 60, ""])


CASTEP_TEXT = """
 | Welcome to Academic Release CASTEP version 24.1 |
 type of calculation                            : magnetic resonance

Initialisation time =      1.20 s
Calculation time    =    812.40 s
Finalisation time   =      2.10 s
Total time          =    815.70 s
Peak Memory Use     = 812345 kB
"""

PW_TEXT = """
     Program PWSCF v.6.7MaX starts on 24Nov2026 at 18:30:10

     bravais-lattice index     =            0
     lattice parameter (alat)  =       7.5589  a.u.
     unit-cell volume          =     431.8944 (a.u.)^3
     number of atoms/cell      =            2
     number of electrons       =         2.00
     kinetic-energy cutoff     =      20.0000  Ry
     Exchange-correlation= PBE
                           (   1   4   3   4   0   0   0)

     crystal axes: (cart. coord. in units of alat)
               a(1) = (   1.000000   0.000000   0.000000 )
               a(2) = (   0.000000   1.000000   0.000000 )
               a(3) = (   0.000000   0.000000   1.000000 )

     site n.     atom                  positions (alat units)
         1           H   tau(   1) = (   0.0000000   0.0000000   0.0000000  )
         2           H   tau(   2) = (   0.0000000   0.0000000   0.1850000  )

     number of k points=     1

     convergence has been achieved in   6 iterations

!    total energy              =      -2.33000000 Ry

   JOB DONE.
"""


@pytest.fixture(scope="session")
def parsers(shared_data: Path) -> Path:
    """Folder of published outputs."""
    return shared_data / "parsers"


@pytest.fixture
def texts() -> dict[str, str]:
    """One small text per reader."""
    run = invented()
    return {
        "outcar": outcar_text(run),
        "nmr": gipaw_text(run, "nmr"),
        "efg": gipaw_text(run, "efg"),
        "castep": CASTEP_TEXT,
        "pw": PW_TEXT,
    }


@pytest.fixture
def run() -> PeriodicTensors:
    """Random tensors on berlinite."""
    return invented()


@pytest.fixture
def make_outcar() -> Callable[..., str]:
    """The writer of small OUTCARs."""
    return outcar_text


@pytest.fixture
def make_gipaw() -> Callable[..., str]:
    """The writer of small gipaw.x outputs."""
    return gipaw_text
