"""A glass from a packing: melt, quench, relax, and the report on its network; every part resumes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from ..structures.network import NetworkStatistics, network_statistics
from ..structures.vocabulary import AtomicStructure, Candidate, Frozen, Region
from .melt_quench import MeltQuenchSettings, melt_quench, relax_glass

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase.calculators.calculator import Calculator

COOLED_FMAX_EV_PER_ANG = 0.02
"""To this force a cheap potential relaxes its own quench before a better one takes over."""


class GlassSettings(Frozen):
    """How a glass is made.

    Attributes
    ----------
    quench
        The melt-quench.
    fmax_ev_per_ang, max_relax_steps, moves_cell
        The relaxation of its end.
    """

    quench: MeltQuenchSettings = MeltQuenchSettings()
    fmax_ev_per_ang: float = Field(default=0.05, gt=0)
    max_relax_steps: int = Field(default=200, ge=0)
    moves_cell: bool = True


class Glass(Frozen):
    """A quenched and relaxed structure with its report.

    Attributes
    ----------
    structure, quenched
        Relaxed, and as the quench left it.
    network, quenched_network
        What their networks look like.
    energy_ev, max_force_ev_per_ang, n_relax_steps
        Of the relaxed cell.
    settings, models
        How it was made: the models of the dynamics and of the relaxation.
    cpu_seconds
        Processor time of the call that ended it.
    """

    structure: AtomicStructure
    quenched: AtomicStructure
    network: NetworkStatistics
    quenched_network: NetworkStatistics
    energy_ev: float
    max_force_ev_per_ang: float
    n_relax_steps: int
    settings: GlassSettings
    models: tuple[str, str]
    cpu_seconds: float = 0.0

    @property
    def is_relaxed(self) -> bool:
        """Whether the forces that are left are as small as was asked for."""
        return self.max_force_ev_per_ang <= self.settings.fmax_ev_per_ang

    def candidate(self, name: str) -> Candidate:
        """The glass as a candidate without symmetry, for the NMR engine and the matching.

        Its notes say how it was made.
        """
        quench = self.settings.quench
        return Candidate(
            name=name,
            kind="bulk",
            structure=self.structure,
            parent=name,
            regions=(Region.BULK,) * len(self.structure),
            notes=(
                f"melted at {quench.melt_k:g} K for {quench.melt_steps} steps of {quench.timestep_fs:g} fs, cooled at "
                f"{quench.quench_rate_k_per_ps:.0f} K/ps with {self.models[0]}, relaxed with {self.models[1]} to "
                f"{self.max_force_ev_per_ang:.2f} eV/A; one snapshot of {len(self.structure)} atoms",
            ),
        )


def make_glass(
    start: AtomicStructure,
    settings: GlassSettings,
    folder: Path | str,
    dynamics: Calculator,
    relaxing: Calculator,
    *,
    models: tuple[str, str],
    report: Callable[[str], None] | None = None,
) -> Glass:
    """Melt, quench and relax a packing, or go on with it.

    Parameters
    ----------
    start
        For example from ``random_lipon``.
    folder
        Keeps the state of the dynamics and of the relaxation.
    dynamics, relaxing
        Calculators of the dynamics and of the relaxation, called ``models``. Where they are called differently, the
        end of the quench is first relaxed in its cell with that of the dynamics.
    report
        Called with a line per chunk.

    Raises
    ------
    GlassError, BlewUpError
        From the melt-quench.
    """
    started = time.process_time()
    end = melt_quench(start, settings.quench, folder, dynamics, report=report)
    assert end is not None
    before = end
    if models[0] != models[1]:
        before = relax_glass(end, dynamics, fmax_ev_per_ang=COOLED_FMAX_EV_PER_ANG, max_steps=500, moves_cell=False)[0]
    relaxed, energy, force, n_steps = relax_glass(
        before,
        relaxing,
        fmax_ev_per_ang=settings.fmax_ev_per_ang,
        max_steps=settings.max_relax_steps,
        folder=Path(folder),
        moves_cell=settings.moves_cell,
    )
    return Glass(
        structure=relaxed,
        quenched=end,
        network=network_statistics(relaxed),
        quenched_network=network_statistics(end),
        energy_ev=energy,
        max_force_ev_per_ang=force,
        n_relax_steps=n_steps,
        settings=settings,
        models=models,
        cpu_seconds=time.process_time() - started,
    )


def relax_further(glass: Glass, max_relax_steps: int, folder: Path | str, relaxing: Calculator) -> Glass:
    """A glass that was not relaxed to its end, relaxed with up to ``max_relax_steps`` in all.

    Parameters
    ----------
    glass
        From ``make_glass``.
    folder
        Keeps the state of the relaxation.
    relaxing
        The calculator of its relaxation.
    """
    started = time.process_time()
    relaxed, energy, force, n_steps = relax_glass(
        glass.structure,
        relaxing,
        fmax_ev_per_ang=glass.settings.fmax_ev_per_ang,
        max_steps=max_relax_steps - glass.n_relax_steps,
        folder=Path(folder),
        moves_cell=glass.settings.moves_cell,
    )
    return glass.model_copy(
        update={
            "structure": relaxed,
            "network": network_statistics(relaxed),
            "energy_ev": energy,
            "max_force_ev_per_ang": force,
            "n_relax_steps": glass.n_relax_steps + n_steps,
            "settings": glass.settings.model_copy(update={"max_relax_steps": max_relax_steps}),
            "cpu_seconds": glass.cpu_seconds + time.process_time() - started,
        }
    )
