"""One entry for every decoration."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from ..accepting import as_structure
from .adsorption import adsorb_fragment, adsorb_water
from .carbonate import take_up_carbonate
from .drying import dry_stepwise
from .grafting import graft_silane
from .ions import add_ions, exchange_protons, remove_ions
from .settings import (
    Carbonate,
    DecorationSettings,
    Drying,
    Fragment,
    GraftedSilane,
    IonAdatoms,
    IonVacancies,
    MolecularWater,
    OpenBridges,
    ProtonExchange,
    SplitWater,
)
from .water import open_bridges, split_water

if TYPE_CHECKING:
    from ..accepting import StructureLike
    from ..vocabulary import Candidate


def decorate(  # noqa: PLR0911 (one return per kind)
    candidate: Candidate, bulk: StructureLike, settings: DecorationSettings
) -> tuple[Candidate, ...]:
    """Every symmetry-distinct decorated slab that the settings ask for, each neutral and without clashes.

    Parameters
    ----------
    candidate
        A slab, dry or decorated before; unrelaxed slabs know their broken bonds exactly, relaxed ones from
        coordination numbers.
    bulk
        The crystal it was cut from.
    settings
        What to do; ``read_settings`` makes it from a mapping.

    Returns
    -------
    Candidates with a ``decoration_record`` (the first of a drying series, the wet slab, may have none).

    Raises
    ------
    DecorationError
        With its kinds: ``NoSiteError``, ``NoRoomError``, ``AtomBudgetError``.
    SiteCountError
        If the coverage does not fit; the message names the nearest that does.
    HydroxylationError, CoverageError
        From splitting water over broken bonds.
    """
    bulk = as_structure(bulk)
    match settings:
        case SplitWater():
            return split_water(candidate, bulk, settings)
        case OpenBridges():
            return open_bridges(candidate, bulk, settings)
        case MolecularWater():
            return adsorb_water(candidate, bulk, settings)
        case ProtonExchange():
            return exchange_protons(candidate, bulk, settings)
        case IonVacancies():
            return remove_ions(candidate, bulk, settings)
        case IonAdatoms():
            return add_ions(candidate, bulk, settings)
        case Drying():
            return dry_stepwise(candidate, bulk, settings)
        case Carbonate():
            return take_up_carbonate(candidate, bulk, settings)
        case GraftedSilane():
            return graft_silane(candidate, bulk, settings)
        case Fragment():
            return adsorb_fragment(candidate, bulk, settings)
        case _:
            assert_never(settings)
