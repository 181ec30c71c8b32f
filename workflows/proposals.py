"""Everything that a study asks for, built: bulk phases, surfaces, decorations and interfaces, each once.

Slabs and common cells are cut first, because that is quick; the number of candidates is checked before anything is
decorated or stacked.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..structures.errors import SurfshiftError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..structures.decorations.settings import DecorationSettings
    from ..structures.ordering import OrderedEnsemble
    from ..structures.vocabulary import AtomicStructure, Candidate
    from .study import StudyFile
    from .study_candidates import CoatingSettings, OrderingSettings, SurfaceSettings

    Step = Callable[[int, int, str], None]

VARIANTS_OF_WATER = 4
"""``hydroxylate`` returns at most so many choices of sites."""


class StudyContentError(SurfshiftError):
    """A study file that is well formed but asks for something that does not exist or does not fit."""


@dataclass(frozen=True)
class Bulk:
    """A crystal and the name that its candidates' names begin with."""

    name: str
    structure: AtomicStructure


@dataclass(frozen=True)
class Proposal:
    """A candidate, where it came from, and the crystals it was cut from (of an interface: substrate, film).

    ``slab`` is the dry slab under a decoration, or the slab itself; ``molecules`` names the molecules that a decoration
    put on it.
    """

    candidate: Candidate
    origin: str
    bulks: tuple[Bulk, ...]
    slab: Candidate | None = None
    molecules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proposals:
    """What a study asks for.

    Attributes
    ----------
    proposals
        Candidates with distinct names and structures.
    duplicates
        Names of candidates that were built and dropped, each with the name of the one that stays.
    left_out
        What was asked for and not built, with the reason.
    """

    proposals: tuple[Proposal, ...]
    duplicates: tuple[tuple[str, str], ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The candidates alone."""
        return tuple(proposal.candidate for proposal in self.proposals)


@dataclass
class _Cut:
    """The dry slabs of one facet, and the entry of the study that asked for them."""

    number: int
    settings: SurfaceSettings
    bulk: Bulk
    slabs: tuple[Candidate, ...]


@dataclass
class _Book:
    """What is built so far."""

    step: Step
    made: list[Proposal] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    done: int = 0
    total: int = 0

    def tick(self, text: str) -> None:
        self.done += 1
        self.step(self.done, self.total, text)


def bulks_of(study: StudyFile) -> tuple[Bulk, ...]:
    """The crystal of a study: one, or the ordered cells of a disordered one.

    Raises
    ------
    SurfshiftError
        If the crystal is unknown, cannot be read, or is disordered and no ordering is asked for, or the reverse.
    """
    ordering = study.candidates.ordering
    if ordering is not None:
        return _ordered(study, ordering)
    if study.crystal is not None:
        from ..structures.library import DisorderedCrystalError, build_crystal, load_crystal

        try:
            return (Bulk(study.crystal, build_crystal(load_crystal(study.crystal))),)
        except DisorderedCrystalError as error:
            raise StudyContentError(
                f"{study.crystal} has partial occupancies and stands for many ordered cells; add "
                "'ordering: {cells: 2}' to candidates"
            ) from error
    from ..structures.importing import PartialOccupancyError, read_structure

    assert study.structure is not None
    try:
        return (Bulk(study.structure.stem, read_structure(study.structure)),)
    except PartialOccupancyError as error:
        raise StudyContentError(f"{error}; or add 'ordering: {{cells: 2}}' to candidates") from error


def _ordered(study: StudyFile, settings: OrderingSettings) -> tuple[Bulk, ...]:
    from ..structures.ordering import order_structure

    if study.crystal is not None:
        from ..structures.library import build_disordered, load_crystal

        name, disordered = study.crystal, build_disordered(load_crystal(study.crystal))
    else:
        from ..structures.importing import read_disordered

        assert study.structure is not None
        name, disordered = study.structure.stem, read_disordered(study.structure)
    if disordered.is_ordered:
        raise StudyContentError(f"{name} has no partial occupancies; take 'ordering' out of candidates")
    if settings.rank == "quasirandom":
        from ..structures.quasirandom import order_quasirandom

        ensemble = order_quasirandom(
            disordered,
            n_orderings=settings.cells,
            supercell=settings.supercell,
            max_atoms=settings.max_atoms,
            min_distance_ang=settings.min_distance_ang,
            seed=settings.seed,
        )
        return _as_bulks(name, ensemble, settings.cells)
    evaluate = None
    if settings.rank == "sevennet":
        from .energies import relaxed_energy

        evaluate = relaxed_energy(model=study.relax.model)
    ensemble = order_structure(
        disordered,
        # by SevenNet the best of twice as many by Ewald energy
        n_orderings=settings.cells * (2 if evaluate else 1),
        supercell=settings.supercell,
        max_atoms=settings.max_atoms,
        min_distance_ang=settings.min_distance_ang,
        seed=settings.seed,
        evaluate=evaluate,
        method=study.relax.model if evaluate else "",
    )
    return _as_bulks(name, ensemble, settings.cells)


def _as_bulks(name: str, ensemble: OrderedEnsemble, n: int) -> tuple[Bulk, ...]:
    return tuple(Bulk(f"{name}-o{k}", ordering.structure) for k, ordering in enumerate(ensemble.orderings[:n]))


def propose(study: StudyFile, step: Step | None = None) -> Proposals:
    """Build every candidate that a study asks for; nothing is relaxed and nothing is written.

    Parameters
    ----------
    study
        The study.
    step
        Called with the number of finished pieces, of all pieces, and what was made.

    Raises
    ------
    SurfshiftError
        If a structure cannot be built, something that is asked for by name does not exist, a decoration fits no slab,
        or there would be more candidates than ``max_candidates``; the message says what would work.
    """
    book = _Book(step or (lambda done, total, text: None))
    settings = study.candidates
    bulks = bulks_of(study)
    cuts = [cut for bulk in bulks for k, entry in enumerate(settings.surfaces) for cut in _cut(k, entry, bulk, book)]
    _check_number(study, bulks, cuts)
    book.total = sum(1 + len(cut.settings.decorations) for cut in cuts) + len(bulks) * len(settings.interfaces) + 1
    for bulk in bulks:
        if settings.bulk:
            from ..structures.enumeration import bulk_candidate

            book.made.append(Proposal(bulk_candidate(bulk.structure, name=bulk.name), "bulk", (bulk,)))
        for k, entry in enumerate(settings.surfaces):
            own = [cut for cut in cuts if cut.bulk is bulk and cut.number == k]
            _surfaces(study, entry, own, book)
        for k, coating in enumerate(settings.interfaces):
            _interfaces(study, k, coating, bulk, book)
            book.tick(f"interfaces {k + 1}")
    proposals, duplicates = _distinct(_with_distinct_names(book.made))
    book.tick("duplicates removed")
    return Proposals(tuple(proposals), tuple(duplicates), tuple(book.left_out))


def _cut(number: int, settings: SurfaceSettings, bulk: Bulk, book: _Book) -> Iterator[_Cut]:
    from ..structures.facets import distinct_facets
    from ..structures.slabs import cut_slabs

    facets = [settings.miller] if settings.miller is not None else []
    if settings.max_miller is not None:
        facets = list(distinct_facets(bulk.structure, settings.max_miller))
    failure: SurfshiftError | None = None
    n_cut = 0
    for miller in facets:
        try:
            slabs = cut_slabs(
                bulk.structure,
                miller,
                thickness_ang=settings.thickness_ang,
                vacuum_ang=settings.vacuum_ang,
                parent=bulk.name,
                keep_polar=settings.keep_polar,
                reconstruct=settings.reconstruct,
                off_stoichiometric=settings.off_stoichiometric,
                ion=settings.ion,
                keep_units=settings.keep_units,
                min_width_ang=settings.min_width_ang,
                orthogonal=settings.orthogonal,
                max_atoms=settings.max_atoms,
            )
        except SurfshiftError as error:
            if settings.miller is not None:
                raise
            failure = failure or error
            book.left_out.append(f"{bulk.name}{facet_name(miller)}: {error}")
            continue
        n_cut += 1
        yield _Cut(number, settings, bulk, _kept(slabs, settings.keep, miller))
    if failure is not None and not n_cut:
        raise failure


def facet_name(miller: tuple[int, int, int] | None) -> str:
    """A Miller index as it stands in names, for example ``(10-1)``."""
    return "" if miller is None else f"({''.join(str(h) for h in miller)})"


def _kept(
    slabs: tuple[Candidate, ...], keep: tuple[str, ...] | None, miller: tuple[int, int, int]
) -> tuple[Candidate, ...]:
    if keep is None:
        return slabs
    label_of = {slab.name: slab.termination.split(":")[0] for slab in slabs}
    for label in keep:
        if label not in label_of.values():
            raise StudyContentError(
                f"candidates.surfaces: the facet {miller} has no termination {label!r}; "
                f"{nearest(label, label_of.values())}"
            )
    return tuple(slab for slab in slabs if label_of[slab.name] in keep)


def _check_number(study: StudyFile, bulks: Sequence[Bulk], cuts: Sequence[_Cut]) -> None:
    settings = study.candidates
    n_slabs = sum(len(cut.slabs) for cut in cuts)
    number = len(bulks) * (settings.bulk + sum(coating.max_pairs for coating in settings.interfaces))
    for cut in cuts:
        per_slab = sum(1 if coverage == 0 else VARIANTS_OF_WATER for coverage in set(cut.settings.hydroxylation))
        for steps in cut.settings.decorations:
            variants = 1
            for decoration in steps:
                variants *= decoration.max_variants
            per_slab += variants
        number += per_slab * len(cut.slabs)
    if number > settings.max_candidates:
        raise StudyContentError(
            f"candidates: {n_slabs} slabs with everything that is asked for on them are up to {number} candidates, "
            f"more than max_candidates: {settings.max_candidates}; take a smaller max_miller, fewer decorations or "
            f"smaller max_variants, or set max_candidates: {number}"
        )


def _surfaces(study: StudyFile, settings: SurfaceSettings, cuts: Sequence[_Cut], book: _Book) -> None:
    from ..structures.enumeration import cover_slabs

    failure: SurfshiftError | None = None
    n_covered = 0
    for cut in cuts:
        facet = f"{cut.bulk.name}{facet_name(cut.slabs[0].miller)}" if cut.slabs else ""
        if settings.hydroxylation and cut.slabs:
            try:
                made = cover_slabs(
                    cut.slabs,
                    cut.bulk.structure,
                    hydroxylation=settings.hydroxylation,
                    max_atoms=settings.max_atoms,
                )
            except SurfshiftError as error:
                if settings.miller is not None:
                    raise
                failure = failure or error
                book.left_out.append(f"{facet}, hydroxylation: {error}")
                made = cut.slabs if 0.0 in settings.hydroxylation else ()
            else:
                n_covered += 1
            for slab in cut.slabs:
                own = [candidate for candidate in made if candidate.termination == slab.termination]
                _take(study, settings.thickness_ang, own, [cut.bulk], book, slab=slab)
        book.tick(facet)
    if failure is not None and not n_covered:
        raise failure
    for j in range(len(settings.decorations)):
        _decorations(study, settings, j, cuts, book)


def _decorations(
    study: StudyFile,
    settings: SurfaceSettings,
    number: int,
    cuts: Sequence[_Cut],
    book: _Book,
) -> None:
    """Put one decoration on every slab; it must fit at least one."""
    failure: SurfshiftError | None = None
    n_made = 0
    steps = settings.decorations[number]
    words = " + ".join(step.kind for step in steps)
    for cut in cuts:
        for slab in cut.slabs:
            try:
                made = _decorated(slab, cut.bulk, steps, settings.max_atoms)
            except SurfshiftError as error:
                failure = failure or error
                book.left_out.append(f"{slab.name}, {words}: {error}")
                continue
            n_made += 1
            _take(study, settings.thickness_ang, made, [cut.bulk], book, slab=slab, origin=words, steps=steps)
        book.tick(words)
    if failure is not None and not n_made:
        place = f"candidates.surfaces[{cuts[0].number}].decorations[{number}]"
        raise StudyContentError(f"{place} ({words}): {failure}") from failure


def _decorated(
    slab: Candidate, bulk: Bulk, steps: Sequence[DecorationSettings], max_atoms: int
) -> tuple[Candidate, ...]:
    from ..structures.decorations.decorate import decorate

    current: tuple[Candidate, ...] = (slab,)
    for step in steps:
        limited = step.model_copy(update={"max_atoms": min(step.max_atoms, max_atoms)})
        failure: SurfshiftError | None = None
        found: list[Candidate] = []
        for candidate in current:
            try:
                found += decorate(candidate, bulk.structure, limited)
            except SurfshiftError as error:
                failure = failure or error
        if failure is not None and not found:
            raise failure
        current = tuple(found)
    return current


def _molecules(steps: Sequence[DecorationSettings]) -> tuple[str, ...]:
    from ..structures.decorations.settings import Fragment

    return tuple(step.molecule for step in steps if isinstance(step, Fragment))


def _interfaces(study: StudyFile, number: int, settings: CoatingSettings, bulk: Bulk, book: _Book) -> None:
    from ..structures.importing import read_structure
    from ..structures.interfaces import build_interfaces
    from ..structures.library import build_crystal, load_crystal
    from ..structures.slabs import cut_slabs

    if settings.film is not None:
        film = Bulk(settings.film, build_crystal(load_crystal(settings.film)))
    else:
        assert settings.film_structure is not None
        film = Bulk(settings.film_structure.stem, read_structure(settings.film_structure))
    place = f"candidates.interfaces[{number}]"
    try:
        sides = [
            _kept(
                cut_slabs(
                    side.structure, miller, thickness_ang=thickness, parent=side.name, reconstruct=settings.reconstruct
                ),
                keep,
                miller,
            )
            for side, miller, thickness, keep in (
                (bulk, settings.miller, settings.thickness_ang, settings.keep),
                (film, settings.film_miller, settings.film_thickness_ang, settings.film_keep),
            )
        ]
        energy = None
        if settings.rank == "sevennet":
            from .energies import sevennet_energy

            energy = sevennet_energy(study.relax.model)
        built = build_interfaces(sides[0], sides[1], settings, energy=energy, energy_name=study.relax.model)
    except SurfshiftError as error:
        raise StudyContentError(f"{place}: {error}") from error
    if len(built) > settings.max_pairs:
        book.left_out.append(
            f"{film.name} on {bulk.name}: {len(built) - settings.max_pairs} pairs of terminations with a higher score "
            f"(max_pairs: {settings.max_pairs})"
        )
    _take(study, settings.thickness_ang, built[: settings.max_pairs], [bulk, film], book, origin="interface")


def _take(
    study: StudyFile,
    thickness_ang: float,
    made: Sequence[Candidate],
    bulks: Sequence[Bulk],
    book: _Book,
    *,
    slab: Candidate | None = None,
    origin: str = "",
    steps: Sequence[DecorationSettings] = (),
) -> None:
    from ..structures.regions import freeze_bottom

    for candidate in made:
        kept = candidate
        if study.relax.mode == "fixed-bottom":
            kept = freeze_bottom(candidate, depth_ang=0.5 * thickness_ang)
        book.made.append(Proposal(kept, origin or _origin(candidate), tuple(bulks), slab, _molecules(steps)))


def _origin(candidate: Candidate) -> str:
    if candidate.decoration:
        return "split_water"
    label = candidate.termination[:1]
    return {"r": "reconstruction", "s": "off-stoichiometric"}.get(label, "cut")


def _with_distinct_names(made: Sequence[Proposal]) -> list[Proposal]:
    """Structures with equal ids once; a name that two structures share gets a number."""
    by_id: dict[str, Proposal] = {}
    for proposal in made:
        by_id.setdefault(proposal.candidate.id, proposal)
    taken: dict[str, int] = {}
    named = []
    for proposal in by_id.values():
        name = proposal.candidate.name
        taken[name] = taken.get(name, 0) + 1
        if taken[name] > 1:
            renamed = proposal.candidate.model_copy(update={"name": f"{name}#{taken[name]}"})
            named.append(replace(proposal, candidate=renamed))
        else:
            named.append(proposal)
    return named


def _distinct(made: Sequence[Proposal]) -> tuple[list[Proposal], list[tuple[str, str]]]:
    """Proposals without symmetry duplicates, whatever their origin; the first of each is kept."""
    from ..structures.slabs import same_structure

    kept: list[tuple[Proposal, tuple[object, ...]]] = []
    duplicates = []
    for proposal in made:
        marked = _with_frozen_marked(proposal.candidate)
        traits = (proposal.candidate.kind, tuple(sorted(zip(marked.elements, marked.oxidation_states, strict=True))))
        twin = next(
            (
                other.candidate.name
                for other, own in kept
                if own == traits and same_structure(marked, _with_frozen_marked(other.candidate))
            ),
            None,
        )
        if twin is None:
            kept.append((proposal, traits))
        else:
            duplicates.append((proposal.candidate.name, twin))
    return [proposal for proposal, _ in kept], duplicates


def _with_frozen_marked(candidate: Candidate) -> AtomicStructure:
    """The structure with frozen atoms told apart from free ones by a mark on their charge."""
    structure, frozen = candidate.structure, set(candidate.frozen_atoms)
    if not frozen:
        return structure
    marked = tuple(q + (0.01 if k in frozen else 0.0) for k, q in enumerate(structure.oxidation_states))
    return structure.model_copy(update={"oxidation_states": marked})
