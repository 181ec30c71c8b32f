"""The commands ``surfshift motion``: averages over motion, phonons and glasses, each in a run folder that goes on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

FolderOption = Annotated[
    Path | None,
    typer.Option("--folder", help="Run folder; NAME-average, -phonons or -glass here without it. The same goes on."),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RetryOption = Annotated[bool, typer.Option("--retry-failed", help="Run failed jobs once more.")]
CrystalArgument = Annotated[
    str, typer.Argument(help="A crystal of the library or a structure file.", metavar="CRYSTAL")
]

app = typer.Typer(
    help="Averages over motion, phonons, and glasses.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(root: typer.Typer, console: Callable[[], Console]) -> None:
    """Add the group to the command line; ``console`` gives the one for results, on standard error for machines."""

    @app.command()
    def average(
        crystal: CrystalArgument,
        *,
        isotope: Annotated[list[str], typer.Option("--isotope", help="Nucleus; repeatable.")],
        site: Annotated[
            list[str] | None, typer.Option("--site", help="Only this one, P3 for example; repeatable.")
        ] = None,
        snapshots: Annotated[int, typer.Option(min=3, help="Snapshots whose tensors are computed.")] = 8,
        temperature_k: Annotated[float, typer.Option(help="Temperature in kelvin.")] = 300.0,
        steps: Annotated[int, typer.Option(min=1, help="Steps of dynamics after equilibration.")] = 2000,
        equilibration: Annotated[int, typer.Option(min=0, help="Steps before that.")] = 500,
        timestep_fs: Annotated[float, typer.Option(help="Time step in fs: 2 without hydrogen, 0.5 with it.")] = 1.0,
        model: Annotated[str, typer.Option(help="7net-l3i5, 7net-0 or chgnet.")] = "7net-l3i5",
        protocol: Annotated[str, typer.Option(help="fast, balanced or stringent.")] = "fast",
        shift_from: Annotated[str, typer.Option(help="rest, for references of resting crystals, or average.")] = "rest",
        jobs: Annotated[int, typer.Option(min=1, help="Jobs side by side.")] = 2,
        memory_gb: Annotated[float, typer.Option(help="Memory of all of them.")] = 8.0,
        folder: FolderOption = None,
        retry_failed: RetryOption = False,
        as_json: JsonOption = False,
        debug: DebugOption = False,
    ) -> None:
        """Average the tensors of a crystal over molecular dynamics.

        The folder is a library for 'surfshift match'.
        """
        del debug
        from .motion_commands import average_crystal

        problems = average_crystal(
            crystal,
            folder,
            console(),
            study={
                "relax": {"model": model, "fmax_ev_per_ang": 0.01},
                "nmr": {"isotopes": isotope, "protocol": protocol},
                "motion": {
                    "sites": site or [],
                    "n_snapshots": snapshots,
                    "shift_from": shift_from,
                    "dynamics": {
                        "temperature_k": temperature_k,
                        "steps": steps,
                        "equilibration_steps": equilibration,
                        "timestep_fs": timestep_fs,
                    },
                },
                "run": {"parallel_jobs": jobs, "memory_gb": memory_gb},
            },
            retry_failed=retry_failed,
            as_json=as_json,
        )
        if problems:
            raise typer.Exit(1)

    @app.command()
    def phonons(
        crystal: CrystalArgument,
        *,
        supercell: Annotated[tuple[int, int, int], typer.Option(help="Repeats in which atoms are displaced.")] = (
            2,
            2,
            2,
        ),
        mesh: Annotated[tuple[int, int, int], typer.Option(help="Wave vectors of the sums.")] = (8, 8, 8),
        slab: Annotated[bool, typer.Option("--slab", help="The third axis is vacuum; both thirds are 1.")] = False,
        follow: Annotated[int, typer.Option(min=0, help="Imaginary modes that are followed at most.")] = 0,
        relax: Annotated[bool, typer.Option(help="Relax the positions first, or refuse what is not relaxed.")] = True,
        temperature_k: Annotated[float, typer.Option(help="Temperature in kelvin.")] = 298.15,
        model: Annotated[str, typer.Option(help="7net-l3i5, 7net-0, chgnet, pair or emt.")] = "7net-l3i5",
        folder: FolderOption = None,
        retry_failed: RetryOption = False,
        as_json: JsonOption = False,
        debug: DebugOption = False,
    ) -> None:
        """Compute the phonons of a crystal or slab.

        Free energy, entropy, heat capacity, imaginary modes and a picture of bands.
        """
        del debug
        from .motion_commands import phonons_of

        phonons_of(
            crystal,
            folder,
            console(),
            settings={"supercell": supercell, "mesh": mesh, "is_slab": slab},
            model=model,
            relaxes=relax,
            max_rounds=follow,
            temperature_k=temperature_k,
            retry_failed=retry_failed,
            as_json=as_json,
        )

    @app.command()
    def glass(
        compound: Annotated[str, typer.Argument(help="AlPO4 or LiPON.", metavar="COMPOUND")],
        *,
        n_phosphorus: Annotated[int, typer.Option(min=1, help="Number of P atoms.")] = 8,
        n_nitrogen: Annotated[int, typer.Option(min=0, help="Number of N atoms, of LiPON.")] = 3,
        n_bridges: Annotated[int, typer.Option(min=0, help="Ligands that LiPON lacks for separate tetrahedra.")] = 2,
        density: Annotated[float, typer.Option(help="Of the packing, g/cm3.")] = 2.3,
        melt_k: Annotated[float, typer.Option(help="Temperature of the melt in kelvin.")] = 3000.0,
        melt_steps: Annotated[int, typer.Option(min=0, help="Steps in the melt.")] = 500,
        quench_steps: Annotated[int, typer.Option(min=1, help="Steps on the way down to 300 K.")] = 2000,
        timestep_fs: Annotated[float, typer.Option(help="Time step in fs.")] = 2.0,
        relax_steps: Annotated[int, typer.Option(min=0, help="Most steps of the relaxation.")] = 200,
        seed: Annotated[int, typer.Option(help="Another seed makes another glass.")] = 1,
        model: Annotated[str, typer.Option(help="7net-l3i5, 7net-0, chgnet or pair (AlPO4).")] = "7net-0",
        relax_model: Annotated[str, typer.Option(help="Of the relaxation.")] = "7net-0",
        folder: FolderOption = None,
        retry_failed: RetryOption = False,
        as_json: JsonOption = False,
        debug: DebugOption = False,
    ) -> None:
        """Make a glass by melt and quench.

        Reports on its network, and writes it as a crystal of your own.
        """
        del debug
        from .motion_commands import glass_of

        glass_of(
            compound,
            folder,
            console(),
            packing={
                "n_phosphorus": n_phosphorus,
                "n_nitrogen": n_nitrogen,
                "n_bridges": n_bridges,
                "density_g_cm3": density,
                "seed": seed,
            },
            settings={
                "quench": {
                    "seed": seed,
                    "melt_k": melt_k,
                    "melt_steps": melt_steps,
                    "quench_steps": quench_steps,
                    "timestep_fs": timestep_fs,
                },
                "max_relax_steps": relax_steps,
            },
            models=(model, relax_model),
            retry_failed=retry_failed,
            as_json=as_json,
        )

    root.add_typer(app, name="motion")
