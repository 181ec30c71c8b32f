"""The second link of a relaxation: DFT from where SevenNet ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..structures.errors import SurfshiftError
from .relaxation import relax_candidate

if TYPE_CHECKING:
    from pathlib import Path

    from ..analysis.vocabulary import Relaxation
    from .study import RelaxSettings


class NoDftSettingsError(SurfshiftError):
    """A DFT relaxation was asked for without saying with what."""


def relax_by_dft(relaxation: Relaxation, settings: RelaxSettings, folder: Path, **overrides: object) -> Relaxation:
    """Relax a candidate by DFT with the same frozen atoms, symmetry and checks as SevenNet.

    The cell stays as it is unless ``relax_bulk_cell`` asks for it. A job that was cut off goes on from the last
    geometry, and from the wavefunction or density in ``folder``.

    Parameters
    ----------
    relaxation
        What SevenNet ended with.
    settings
        With a ``dft`` block.
    folder
        Where the program works.
    **overrides
        Numbers of the protocol to replace.

    Raises
    ------
    NoDftSettingsError
        If the settings have no ``dft`` block.
    DftError, RelaxationError
        Any named failure of the program or the relaxation.
    """
    from .engines.dft.calculator import ProgramCalculator

    dft = settings.dft
    if dft is None:
        raise NoDftSettingsError("relax.dft is missing; name an engine there: cp2k or pw")
    candidate = relaxation.candidate
    calculator: Any = ProgramCalculator(dft.engine, candidate, folder / dft.engine, protocol=dft.protocol, **overrides)
    own = settings.model_copy(update={"fmax_ev_per_ang": dft.fmax_ev_per_ang, "max_steps": dft.max_steps})
    relaxed = relax_candidate(candidate, own, calculator=calculator, checkpoint=folder / f"{dft.engine}.json")
    return relaxed.model_copy(update={"start_id": relaxation.start_id})
