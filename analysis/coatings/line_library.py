"""The predicted phases of a coating as a library for ``surfshift match``.

Lines of a screening come from several sources, most of them published shifts, so they are put onto one scale: each
line becomes a pseudo-shielding of minus its shift, with a reference of slope -1 whose site errors are the errors of the
lines. Polymorphs of one formula are candidates of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...structures.enumeration import bulk_candidate
from ...structures.errors import SurfshiftError
from ...structures.importing import OxidationStateError, from_pymatgen
from ...structures.library import build_crystal, load_crystal
from ...structures.vocabulary import AtomicStructure, as_tensor3
from ..constants import BARN_AU_TO_MHZ
from ..constants import isotope as nucleus_of
from ..prediction import predict_sites, site_environments
from ..vocabulary import Method, Reference, ReferenceCompound, SiteTensors, StudyResult
from .fingerprints import lines_of
from .structural import crystal_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ...structures.vocabulary import Candidate
    from .fingerprints import NmrLine

METHOD = Method(
    engine="lines of a screening",
    engine_version="1",
    functional="published and computed shifts",
    protocol="one scale of shifts",
    protocol_hash="minus-delta-1",
)
REFERENCING_ERROR_PPM = 0.3
"""Uncertainty of the zero of a measured axis, which all lines of a nucleus share."""


class LineLibraryError(SurfshiftError):
    """A set of phases none of which has both a line and a crystal."""


def line_library(formulas: Iterable[str], *, name: str) -> StudyResult:
    """Candidates with their lines, as ``surfshift match --library`` reads them.

    Parameters
    ----------
    formulas
        Phases that may be there: electrolyte, coating, products.
    name
        Title of the result.

    Returns
    -------
    StudyResult
        Without measurements or an assignment; ``failures`` names the phases that could not take part, and why.

    Raises
    ------
    LineLibraryError
        If no phase has both a line and a crystal.
    """
    entries: list[tuple[Candidate, tuple[SiteTensors, ...]]] = []
    used: list[tuple[NmrLine, str]] = []
    failures: list[str] = []
    for formula in dict.fromkeys(formulas):
        lines = lines_of(formula)
        if not lines:
            failures.append(f"{formula}: no line on file, so it cannot be matched")
            continue
        for crystal, own in _variants(lines).items():
            structure = _structure(formula, crystal)
            if structure is None:
                failures.append(f"{formula}: no ordered crystal on file to place its lines on")
                continue
            candidate = bulk_candidate(structure, name=crystal or formula)
            environments = site_environments(structure)
            tensors: list[SiteTensors] = []
            for isotope in dict.fromkeys(line.isotope for line in own):
                placed = _placed(candidate, [line for line in own if line.isotope == isotope])
                tensors += [_tensors(candidate, line, atoms) for line, atoms in placed]
                used += [(line, environments[atoms[0]]) for line, atoms in placed]
            entries.append((candidate, tuple(tensors)))
    if not entries:
        raise LineLibraryError(f"{name}: no line library can be made: {'; '.join(failures)}")
    references = {isotope: _reference(isotope, used) for isotope in dict.fromkeys(line.isotope for line, _ in used)}
    return StudyResult(
        name=name,
        relaxations=(),
        candidates=tuple(candidate for candidate, _ in entries),
        tensors={candidate.id: tensors for candidate, tensors in entries},
        references=tuple(references.values()),
        sites=tuple(
            site
            for candidate, tensors in entries
            for site in predict_sites(candidate, tensors, references, tuple(references))
        ),
        measurements=(),
        assignment=None,
        provenance={
            f"{line.formula}, {line.isotope}, {line.environment}": f"{line.origin}, {line.grade}: {line.source}"
            for line, _ in used
        },
        failures=tuple(failures),
    )


def _variants(lines: Sequence[NmrLine]) -> dict[str, list[NmrLine]]:
    """Lines by polymorph; those of the formula as such join every polymorph that has none of their nucleus."""
    common = [line for line in lines if not line.crystal]
    own: dict[str, list[NmrLine]] = {}
    for line in lines:
        if line.crystal:
            own.setdefault(line.crystal, []).append(line)
    if not own:
        return {"": common}
    for variant in own.values():
        have = {line.isotope for line in variant}
        variant += [line for line in common if line.isotope not in have]
    return own


def _structure(formula: str, crystal: str) -> AtomicStructure | None:
    if crystal:
        return build_crystal(load_crystal(crystal))
    found = crystal_of(formula)
    if found is None:
        return None
    try:
        return from_pymatgen(found, name=formula)
    except OxidationStateError:  # a metal or a phosphide: the charges only name environments
        neutral = found.copy()
        neutral.add_oxidation_state_by_element(dict.fromkeys(found.symbol_set, 0))
        return AtomicStructure.from_pymatgen(neutral)


def _placed(candidate: Candidate, lines: Sequence[NmrLine]) -> list[tuple[NmrLine, tuple[int, ...]]]:
    """Atoms of the element, shared out over the lines as their shares say; a line gets one atom at least."""
    element = nucleus_of(lines[0].isotope).element
    atoms = [k for k, symbol in enumerate(candidate.structure.elements) if symbol == element]
    shares = np.array([line.share for line in lines])
    ends = np.round(np.cumsum(shares / shares.sum()) * len(atoms)).astype(int)
    placed = []
    for line, first, last in zip(lines, [0, *ends[:-1]], ends, strict=True):
        if last > first:
            placed.append((line, tuple(atoms[first:last])))
    return placed


def _tensors(candidate: Candidate, line: NmrLine, atoms: tuple[int, ...]) -> SiteTensors:
    nucleus = nucleus_of(line.isotope)
    efg = np.zeros((3, 3))
    if line.cq_mhz and nucleus.quadrupole_barn:
        vzz, eta = line.cq_mhz / (BARN_AU_TO_MHZ * abs(nucleus.quadrupole_barn)), line.eta or 0.0
        efg = np.diag([-0.5 * vzz * (1.0 - eta), -0.5 * vzz * (1.0 + eta), vzz])
    return SiteTensors(
        structure_id=candidate.structure.content_id,
        element=nucleus.element,
        atom_indices=atoms,
        shielding_ppm=(as_tensor3(-line.delta_ppm * np.eye(3)),) * len(atoms),
        efg_au=(as_tensor3(efg),) * len(atoms),
        method=METHOD,
    )


def _reference(isotope: str, used: Sequence[tuple[NmrLine, str]]) -> Reference:
    own = [(line, environment) for line, environment in used if line.isotope == isotope]
    errors: dict[str, list[float]] = {}
    for line, environment in own:
        errors.setdefault(environment, []).append(line.delta_error_ppm)
    spread = {environment: float(np.sqrt(np.mean(np.square(values)))) for environment, values in errors.items()}
    return Reference(
        isotope=isotope,
        method=METHOD,
        slope=-1.0,
        intercept_ppm=0.0,
        covariance=((1e-8, 0.0), (0.0, REFERENCING_ERROR_PPM**2)),
        sigma_mean_ppm=float(-np.mean([line.delta_ppm for line, _ in own])),
        site_error_ppm=float(np.median([line.delta_error_ppm for line, _ in own])),
        environment_errors_ppm=spread,
        compounds=tuple(
            ReferenceCompound(
                name=f"{line.formula} {line.environment}".strip(),
                sigma_iso_ppm=-line.delta_ppm,
                delta_iso_ppm=line.delta_ppm,
                delta_error_ppm=line.delta_error_ppm,
                source=line.source,
                grade=line.support,
                environment=environment,
            )
            for line, environment in own
        ),
        note="no fit: shifts of a screening on one scale, each with the error of its source",
    )
