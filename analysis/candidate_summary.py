"""What a table or a card says of one candidate."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ..structures.vocabulary import Candidate, Frozen, Layer, Region
from .surface_energy import SurfaceEnergy

if TYPE_CHECKING:
    from collections.abc import Sequence


class CandidateSummary(Frozen):
    """One candidate in numbers and words.

    Attributes
    ----------
    origin
        How it was made: ``bulk``, ``cut``, ``reconstruction``, the kind of a decoration, or ``interface``.
    facet
        Miller index as in names, for example ``(10-1)``; empty for a bulk.
    broken_bonds
        Bonds that the cut of the slab broke, per pair of elements, both faces together; of the dry slab.
    undercoordinated
        Atoms whose bonds are open now.
    regions
        Number of atoms of every region; of an interface also of every layer.
    sites
        Symmetry-distinct sites of every isotope asked for.
    n_refused_sites
        How many of them the cluster engine is expected to refuse in the structure as built.
    nmr_cpu_seconds, relax_cpu_seconds
        Expected cost, an estimate.
    energy_ev, is_relaxed, model, n_steps
        Energy of the cell where it was ranked, whether it was relaxed before, the potential and the number of steps.
    surface_energy
        See ``SurfaceEnergy``.
    adhesion_j_m2
        Rigid work of separation of an interface.
    problem
        Why a ranking failed; empty if it did not.
    """

    name: str
    id: str
    origin: str
    parent: str
    formula: str
    n_atoms: int
    facet: str = ""
    termination: str = ""
    decoration: str = ""
    tasker: int | None = None
    area_ang2: float | None = None
    thickness_ang: float | None = None
    dipole_e_ang: float | None = None
    broken_bonds: tuple[tuple[str, int], ...] = ()
    n_broken_bonds: int | None = None
    undercoordinated: tuple[int, ...] = ()
    has_equal_faces: bool | None = None
    regions: dict[str, int]
    sites: dict[str, int]
    n_refused_sites: int = 0
    nmr_cpu_seconds: float
    relax_cpu_seconds: float
    energy_ev: float | None = None
    is_relaxed: bool = False
    model: str = ""
    n_steps: int | None = None
    surface_energy: SurfaceEnergy = SurfaceEnergy()
    adhesion_j_m2: float | None = None
    problem: str = ""
    notes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def has_equal_faces(candidate: Candidate) -> bool:
    """Whether symmetry carries one face of a slab, as it is, into the other."""
    from ..structures.faces import slab_motions

    return any(rotation[2, 2] < 0 for rotation, _ in slab_motions(candidate.structure))


def summarize(
    candidate: Candidate,
    *,
    origin: str,
    slab: Candidate | None,
    undercoordinated: Sequence[int],
    sites: dict[str, int],
    n_refused_sites: int,
    nmr_cpu_seconds: float,
    relax_cpu_seconds: float,
) -> CandidateSummary:
    """The summary of a candidate as built, before any ranking; ``slab`` is the cut under a decoration."""
    regions = Counter(region.value for region in candidate.regions)
    counts = {region.value: regions[region.value] for region in Region if regions[region.value]}
    if candidate.interface_record is not None:
        layers = Counter(layer.value for layer in candidate.interface_record.layers)
        counts |= {layer.value: layers[layer.value] for layer in Layer}
    cut = slab or candidate
    info = cut.slab_info
    is_slab = candidate.kind == "slab"
    # a decoration may take a supercell of the cut
    n_cells = round(candidate.area_ang2 / cut.area_ang2) if is_slab and cut.area_ang2 else 1
    return CandidateSummary(
        name=candidate.name,
        id=candidate.id,
        origin=origin,
        parent=candidate.parent,
        formula=candidate.structure.formula,
        n_atoms=len(candidate.structure),
        facet=f"({''.join(str(h) for h in candidate.miller)})" if candidate.miller else "",
        termination=candidate.termination,
        decoration=candidate.decoration,
        tasker=info.tasker if info else None,
        area_ang2=candidate.area_ang2 if is_slab else None,
        thickness_ang=info.thickness_ang if info else None,
        dipole_e_ang=round(candidate.dipole_e_ang, 6) + 0.0 if is_slab else None,
        broken_bonds=tuple((pair, n_cells * n) for pair, n in info.broken_bonds) if info else (),
        n_broken_bonds=n_cells * info.n_broken_bonds if info else None,
        undercoordinated=tuple(undercoordinated),
        has_equal_faces=has_equal_faces(candidate) if is_slab else None,
        regions=counts,
        sites=sites,
        n_refused_sites=n_refused_sites,
        nmr_cpu_seconds=nmr_cpu_seconds,
        relax_cpu_seconds=relax_cpu_seconds,
        notes=candidate.notes,
    )
