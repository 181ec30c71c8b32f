"""From computed tensors to the lines that a candidate should show."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from ..structures.bonding import find_bonds
from ..structures.errors import SurfshiftError
from .constants import BARN_AU_TO_MHZ
from .constants import isotope as nucleus_of
from .reference_fit import MixedMethodsError
from .tensors import haeberlen, quadrupole, shift_tensor
from .vocabulary import PredictedSite

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from ..structures.vocabulary import AtomicStructure, Candidate
    from .vocabulary import Reference, SiteTensors

EFG_ERROR_AU = 0.01
"""Absolute error of a computed EFG, atomic units, beside the relative one of the reference: about 0.34 MHz for 27Al.
Together with 10 % it gives the 0.57 MHz scatter of the 27Al calibration set at its usual CQ of 4 to 5 MHz."""


class PredictionError(SurfshiftError):
    """Tensors that do not belong to the candidate, or an isotope without a reference."""


def predict_sites(
    candidate: Candidate,
    tensors: Sequence[SiteTensors],
    references: Mapping[str, Reference],
    isotopes: Sequence[str],
    *,
    partners: Collection[str] = (),
) -> tuple[PredictedSite, ...]:
    """The predicted lines of a candidate.

    Parameters
    ----------
    candidate
        The structure the tensors were computed for.
    tensors
        Its symmetry-distinct sites; elements without an isotope in ``isotopes`` are passed over. Standard errors of
        averages over motion add to those of the method.
    references
        One reference per isotope.
    isotopes
        Isotopes to predict, for example ``("27Al", "31P")``.
    partners
        Elements to which sums over distances are made, for CP by contact time and for dephasing.

    Raises
    ------
    PredictionError
        If a tensor belongs to another structure or atom, or an isotope has no reference.
    MixedMethodsError
        If a tensor and its reference come from different methods.
    """
    sites = []
    for name in isotopes:
        nucleus = nucleus_of(name)
        chosen = [site for site in tensors if site.element == nucleus.element]
        if not chosen:
            continue
        if name not in references:
            raise PredictionError(
                f"no reference for {name}, so the shieldings of {candidate.name} give no shift; "
                f"references given: {', '.join(sorted(references)) or 'none'}"
            )
        reference = references[name]
        environments = site_environments(candidate.structure)
        if reference.isotope != name:
            raise PredictionError(f"the reference given for {name} is one for {reference.isotope}")
        for site in chosen:
            _check(candidate, site, reference)
            first = site.atom_indices[0]
            shift = haeberlen(
                shift_tensor(site.shielding_ppm[0], slope=reference.slope, intercept_ppm=reference.intercept_ppm)
            )
            coupling = quadrupole(site.efg_au[0], nucleus)
            cq_mhz = reference.cq_factor * coupling.cq_mhz
            floor = reference.cq_error_mhz
            if floor is None or not nucleus.is_quadrupolar:
                floor = BARN_AU_TO_MHZ * abs(nucleus.quadrupole_barn) * EFG_ERROR_AU
            motion = site.motion
            shift_noise = cq_noise = 0.0
            if motion is not None:
                cq_noise = reference.cq_factor * motion.cq_error_mhz
                if motion.shift_from == "average":
                    shift_noise = abs(reference.slope) * motion.sigma_iso_error_ppm
            sites.append(
                PredictedSite(
                    candidate_id=candidate.id,
                    candidate_name=candidate.name,
                    isotope=name,
                    atom_indices=site.atom_indices,
                    region=candidate.regions[first],
                    sigma_iso_ppm=site.sigma_iso_ppm,
                    delta_iso_ppm=shift.iso_ppm,
                    delta_error_ppm=math.hypot(reference.error_of(environments[first]), shift_noise),
                    zeta_csa_ppm=shift.zeta_ppm,
                    eta_csa=shift.eta,
                    cq_mhz=cq_mhz,
                    cq_error_mhz=math.hypot(reference.cq_error_fraction * cq_mhz, floor, cq_noise),
                    eta_q=coupling.eta,
                    distance_to_h_ang=distance_to_hydrogen(candidate.structure, first),
                    environment=environments[first],
                    dipolar_sums=_dipolar_sums(candidate.structure, first, partners),
                )
            )
    return tuple(sites)


def _dipolar_sums(structure: AtomicStructure, atom: int, partners: Collection[str]) -> dict[str, float]:
    if not partners:
        return {}
    from .dipolar import hydrogen_sum, sums_over_neighbours

    sums = sums_over_neighbours(structure, atom, partners)
    return sums | {"HH": hydrogen_sum(structure, atom)} if "H" in sums else sums


def _check(candidate: Candidate, site: SiteTensors, reference: Reference) -> None:
    structure = candidate.structure
    if site.structure_id != structure.content_id:
        raise PredictionError(
            f"tensors of structure {site.structure_id} were given for candidate {candidate.name} "
            f"({structure.content_id}); pass the tensors computed for this very structure"
        )
    wrong = [i for i in site.atom_indices if not 0 <= i < len(structure) or structure.elements[i] != site.element]
    if wrong:
        raise PredictionError(f"{candidate.name}: atoms {wrong} of the tensors are not {site.element} atoms there")
    if site.method.key != reference.method.key:
        raise MixedMethodsError(
            f"{candidate.name}: shielding from {site.method.key}, but the {reference.isotope} reference is for "
            f"{reference.method.key}; use a reference of the same method"
        )


def site_environments(structure: AtomicStructure) -> list[str]:
    """Each atom with what it is bonded to, as in ``AlO4``; ligands in alphabetical order, a count of one unwritten."""
    return [
        element
        + "".join(
            f"{ligand}{count if count > 1 else ''}"
            for ligand, count in sorted(Counter(structure.elements[bond.j] for bond in bonds).items())
        )
        for element, bonds in zip(structure.elements, find_bonds(structure), strict=True)
    ]


def distance_to_hydrogen(structure: AtomicStructure, atom: int) -> float | None:
    """Distance in angstrom from an atom to the nearest hydrogen, its own images included; None without hydrogen.

    For a hydrogen atom it is the distance to the nearest other hydrogen or image.
    """
    hydrogens = [i for i, element in enumerate(structure.elements) if element == "H"]
    if not hydrogens:
        return None
    frac = np.array(structure.frac_coords)
    difference = frac[hydrogens] - frac[atom]
    periodic = np.array(structure.periodic)
    difference -= np.where(periodic, np.round(difference), 0.0)
    vectors = (difference[:, None, :] + _image_shifts(structure.lattice, periodic)[None, :, :]) @ structure.lattice
    lengths = np.linalg.norm(vectors, axis=2)
    lengths = lengths[lengths > 1e-6]
    return float(lengths.min()) if lengths.size else None


def _image_shifts(lattice: NDArray[np.float64], periodic: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Lattice translations that can hold the nearest image of a wrapped vector, shape (m, 3).

    A wrapped vector is no longer than half the sum of the cell vectors; images farther than twice that
    cannot be nearer, which bounds the index along each direction by the cell's plane spacings.
    """
    longest = np.linalg.norm(lattice, axis=1)[periodic].sum() if periodic.any() else 0.0
    spacing = 1.0 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    ranges = [
        np.arange(-n, n + 1) if is_periodic else np.array([0])
        for n, is_periodic in zip(np.ceil(longest / spacing).astype(int), periodic, strict=True)
    ]
    return np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3).astype(float)
