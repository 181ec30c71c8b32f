"""Two files of one calculation made into one: shieldings from the first, field gradients from the second."""

from __future__ import annotations

import numpy as np

from .errors import InconsistentFileError
from .ordering import match_atoms
from .result import UNKNOWN, PeriodicTensors


def merge(first: PeriodicTensors, second: PeriodicTensors, *, tolerance_ang: float = 0.02) -> PeriodicTensors:
    """The tensors of both files, in the frame and atom order of the first.

    Raises
    ------
    WrongStructureError, WrongAtomOrderError
        If the files are not of the same atoms.
    InconsistentFileError
        If engine, functional, cutoff or potentials differ, or both have a tensor and they differ.
    """
    for what in ("engine", "functional", "cutoff_ev"):
        one, other = getattr(first, what), getattr(second, what)
        if one != other and UNKNOWN not in {one, other} and None not in {one, other}:
            raise InconsistentFileError(
                f"the files to merge have {what} {one} and {other}; merge files of one calculation only"
            )
    for element in set(first.potentials) & set(second.potentials):
        if first.potentials[element] != second.potentials[element]:
            raise InconsistentFileError(
                f"the files to merge use {first.potentials[element]} and {second.potentials[element]} for {element}; "
                "merge files of one calculation only"
            )
    found = match_atoms(first, second, tolerance_ang=tolerance_ang, name="the second file")
    rotation = found.rotation

    def union(name: str) -> tuple[object, ...]:
        result: list[object] = []
        for k, own in enumerate(getattr(first, name)):
            other = getattr(second, name)[found.order[k]]
            if other is not None:
                turned = rotation @ np.array(other) @ rotation.T
                if own is None:
                    own = tuple(tuple(float(x) for x in row) for row in turned)  # noqa: PLW2901
                elif np.abs(np.array(own) - turned).max() > 1e-3:
                    raise InconsistentFileError(
                        f"both files have a tensor ({name}) of atom {k + 1}, and they differ; merge files of one "
                        "calculation only"
                    )
            result.append(own)
        return tuple(result)

    return first.model_copy(
        update={
            "shielding_ppm": union("shielding_ppm"),
            "efg_au": union("efg_au"),
            "functional": second.functional if first.functional == UNKNOWN else first.functional,
            "cutoff_ev": second.cutoff_ev if first.cutoff_ev is None else first.cutoff_ev,
            "macroscopic": second.macroscopic if first.macroscopic == UNKNOWN else first.macroscopic,
            "potentials": second.potentials | first.potentials,
            "settings": second.settings | first.settings,
            "notes": (*first.notes, *(note for note in second.notes if note not in first.notes)),
        }
    )
