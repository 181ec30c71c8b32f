"""What the commands ``surfshift motion`` do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from ..structures.errors import SurfshiftError, nearest
from ..structures.vocabulary import AtomicStructure, Candidate, Region
from .files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from .glass import Glass, GlassSettings
    from .mode_following import PhononRun
    from .motion_flows import ForceModel

PHONON_FMAX_EV_PER_ANG = 0.002


class MotionOptionError(SurfshiftError):
    """Options of ``surfshift motion`` that mean nothing, or do not go together."""


def _quiet(console: Console, as_json: bool) -> Console:
    """Where progress is told: beside a result that machines read."""
    from rich.console import Console

    return Console(stderr=True) if as_json else console


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _given(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}"


def _model(name: str) -> ForceModel:
    from .motion_flows import ForceModel

    if name not in get_args(ForceModel):
        raise MotionOptionError(f"--model: there is no {name!r}; {nearest(name, get_args(ForceModel))}")
    known: ForceModel = name  # type: ignore[assignment]
    return known


def named_structure(crystal: str) -> tuple[str, AtomicStructure]:
    """A crystal of the library or a structure file, with its name.

    Raises
    ------
    SurfshiftError
        If it is neither.
    """
    from ..structures.importing import read_structure
    from ..structures.library import build_crystal, load_crystal

    path = Path(crystal).expanduser()
    if path.is_file():
        return path.stem, read_structure(path)
    return crystal, build_crystal(load_crystal(crystal))


def average_crystal(
    crystal: str,
    folder: Path | None,
    console: Console,
    *,
    study: dict[str, Any],
    retry_failed: bool = False,
    as_json: bool = False,
) -> tuple[str, ...]:
    """Run a study of one crystal with averages, print them, and give back its problems.

    The folder holds the study file ``motion.yaml`` and a report; ``surfshift match --library`` reads it.
    """
    import yaml

    from .progress import Progress
    from .queue.errors import InterruptedRunError
    from .queue.folder import RunFolder
    from .study import load_study
    from .study_run import check_fits, go_on, start

    path = Path(crystal).expanduser()
    source = {"structure": str(path.resolve())} if path.is_file() else {"crystal": crystal}
    name = path.stem if path.is_file() else crystal
    run = RunFolder((folder or Path(f"{name}-average")).expanduser().resolve())
    file = run.path / "motion.yaml"
    text = yaml.safe_dump({"study": f"{name}-average", **source, **study}, sort_keys=False)
    fresh = file.with_suffix(".new.yaml")
    write_atomically(fresh, text)
    try:
        settings = load_study(fresh)
        told = _quiet(console, as_json)
        if run.is_submitted:
            check_fits(run, settings)
            _say(told, f"going on with the run in {run.path}")
        else:
            start(run, settings, fresh, say=lambda line: _say(told, line))
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)
        if run.path.is_dir() and not any(run.path.iterdir()):
            run.path.rmdir()
    try:
        outcome = go_on(run, settings, Progress(told, settings.study), retry_failed=retry_failed)
    except InterruptedRunError as error:
        raise InterruptedRunError(f"{str(error).split(';')[0]}; call the same command again to go on") from error
    tensors = [t for own in outcome.result.tensors.values() for t in own if t.motion is not None]
    if as_json:
        print("[" + ",".join(t.model_dump_json() for t in tensors) + "]")
    for t in tensors:
        m = t.motion
        assert m is not None
        _say(
            told,
            f"{t.element} {','.join(map(str, t.atom_indices))}, {m.source}, {m.temperature_k:g} K, {m.n_snapshots} "
            f"snapshots: shielding {m.rest_sigma_iso_ppm:.2f} at rest, {m.sigma_iso_ppm:.2f} ± "
            f"{m.sigma_iso_error_ppm:.2f} ppm averaged"
            + (f"; |CQ| {m.rest_cq_mhz:.2f}, {m.cq_mhz:.2f} ± {m.cq_error_mhz:.2f} MHz" if m.rest_cq_mhz else ""),
        )
        for flag in m.flags:
            _say(told, f"  tensors at rest are not to be trusted: {flag}")
    for failure in outcome.result.failures:
        _say(told, f"problem: {failure}")
    _say(told, f"report: {outcome.report}")
    if tensors:
        _say(told, f"library: surfshift match SPECTRUM --library {run.path}")
    return outcome.result.failures


def phonons_of(
    crystal: str,
    folder: Path | None,
    console: Console,
    *,
    settings: Mapping[str, Any],
    model: str,
    relaxes: bool,
    max_rounds: int,
    temperature_k: float,
    retry_failed: bool = False,
    as_json: bool = False,
) -> PhononRun:
    """Run phonons in a folder, print what follows from them, write ``phonons.json`` and ``bands.png``."""
    from .motion_flows import PhononMaker
    from .motion_run import run_alone
    from .phonon_figures import draw_bands
    from .phonons import PhononSettings, phonons_from_forces
    from .progress import Progress
    from .study import RelaxSettings

    name, structure = named_structure(crystal)
    try:
        wanted = PhononSettings.model_validate(dict(settings))
    except ValidationError as error:
        raise MotionOptionError(_given(error)) from error
    maker = PhononMaker(settings=wanted, model=_model(model), max_rounds=max_rounds)
    start = Candidate(name=name, kind="bulk", structure=structure, parent=name, regions=(Region.BULK,) * len(structure))
    relax = RelaxSettings(fmax_ev_per_ang=PHONON_FMAX_EV_PER_ANG)
    place = (folder or Path(f"{name}-phonons")).expanduser().resolve()
    told = _quiet(console, as_json)
    found: PhononRun = run_alone(
        place,
        lambda: maker.make_relaxed(start, relax) if relaxes else maker.make(structure),
        {
            "structure": structure.content_id,
            "settings": wanted.model_dump(mode="json"),
            "model": model,
            "relaxes": relaxes,
            "max_rounds": max_rounds,
        },
        name=f"{name}-phonons",
        progress=Progress(told, f"{name}-phonons"),
        retry_failed=retry_failed,
    )
    text = found.model_dump_json()
    write_atomically(place / "phonons.json", text)
    phonons = phonons_from_forces(found.structure, found.settings, found.forces_ev_per_ang)
    picture = draw_bands(phonons, found.structure, found.settings, place / "bands.png", title=f"{name}, {model}")
    if as_json:
        print(text)
    for line in describe_phonons(found, temperature_k):
        _say(told, line)
    _say(told, f"picture: {picture}")
    return found


def describe_phonons(found: PhononRun, temperature_k: float) -> list[str]:
    """Rounds, imaginary modes, and the free energy where the structure is a minimum."""
    from ..analysis.thermodynamics.vibrations import (
        EV_PER_K_J_PER_MOL_K,
        ImaginaryModesError,
        heat_capacity_ev_per_k,
        vibrational_entropy_ev_per_k,
        vibrational_free_energy_ev,
    )

    lines = [
        f"followed {one.frequency_thz:.2f} THz at {one.wave_vector}: {1000 * one.gain_ev:.2f} meV lower per cell"
        for one in found.rounds
    ]
    if found.problem:
        lines.append(f"not followed: {found.problem}")
    own = found.vibrations
    try:
        frequencies = own.real_frequencies_thz()
    except ImaginaryModesError as error:
        return [*lines, f"no free energy: {error}"]
    free = vibrational_free_energy_ev(frequencies, temperature_k, own.weights)
    entropy = EV_PER_K_J_PER_MOL_K * vibrational_entropy_ev_per_k(frequencies, temperature_k, own.weights)
    heat = EV_PER_K_J_PER_MOL_K * heat_capacity_ev_per_k(frequencies, temperature_k, own.weights)
    zero = vibrational_free_energy_ev(frequencies, 0.0, own.weights)
    lines.append(
        f"{found.structure.formula}, {temperature_k:g} K, per cell: F {free:.4f} eV (zero point {zero:.4f} eV), "
        f"S {entropy:.1f}, Cv {heat:.1f} J/(mol K); no imaginary mode"
    )
    return lines


def glass_of(
    compound: str,
    folder: Path | None,
    console: Console,
    *,
    packing: Mapping[str, Any],
    settings: Mapping[str, Any],
    models: tuple[str, str],
    retry_failed: bool = False,
    as_json: bool = False,
) -> Glass:
    """Make a glass in a folder, print its network, write ``glass.json`` and ``glass.cif``."""
    from .export import export_candidate
    from .glass import GlassSettings
    from .motion_flows import FurtherGlassMaker, GlassMaker
    from .motion_run import run_alone
    from .packing import random_lipon, random_phosphate
    from .progress import Progress

    try:
        wanted = GlassSettings.model_validate(settings)
    except ValidationError as error:
        raise MotionOptionError(_given(error)) from error
    if compound == "AlPO4":
        start = random_phosphate(packing["n_phosphorus"], packing["density_g_cm3"], seed=packing["seed"])
    elif compound == "LiPON":
        start = random_lipon(
            packing["n_phosphorus"],
            packing["n_nitrogen"],
            packing["density_g_cm3"],
            n_bridges=packing["n_bridges"],
            seed=packing["seed"],
        )
    else:
        raise MotionOptionError(f"a glass of {compound!r} cannot be packed; {nearest(compound, ('AlPO4', 'LiPON'))}")
    if compound != "AlPO4" and "pair" in models:
        raise MotionOptionError("--model pair knows Al, P and O only; take 7net-0 for LiPON")
    if models[1] == "pair":
        wanted = wanted.model_copy(update={"moves_cell": False})  # the pair potential gives no stress
    name = f"{compound}-glass"
    place = (folder or Path(name)).expanduser().resolve()
    told = _quiet(console, as_json)
    found = _kept_glass(place, start, wanted, models)
    if found is None:
        found = run_alone(
            place,
            lambda: GlassMaker(settings=wanted, model=_model(models[0]), relax_model=_model(models[1])).make(start),
            {"start": start.content_id, "settings": wanted.model_dump(mode="json"), "models": list(models)},
            name=name,
            progress=Progress(told, name),
            retry_failed=retry_failed,
        )
    elif not found.is_relaxed and found.settings.max_relax_steps < wanted.max_relax_steps:
        steps, before = wanted.max_relax_steps, found
        found = run_alone(
            place / f"relaxed-{steps}",
            lambda: FurtherGlassMaker(max_relax_steps=steps, relax_model=_model(models[1])).make(before),
            {"glass": before.structure.content_id, "steps": steps, "models": list(models)},
            name=f"{name} relaxed further",
            progress=Progress(told, name),
            retry_failed=retry_failed,
        )
    text = found.model_dump_json()
    write_atomically(place / "glass.json", text)
    (written,) = export_candidate(found.candidate(name), place, ("cif",), stem="glass")
    if as_json:
        print(text)
    for line in describe_glass(found):
        _say(told, line)
    _say(told, f"structure: {place / written}; in a study file: structure: {written}")
    return found


def _kept_glass(place: Path, start: AtomicStructure, wanted: GlassSettings, models: tuple[str, str]) -> Glass | None:
    """The finished glass of a folder, if it is the one that is wanted but for the steps of its relaxation."""
    from .glass import Glass
    from .queue.folder import RunFolder

    path, run = place / "glass.json", RunFolder(place)
    if not path.is_file() or not run.is_submitted:
        return None
    try:
        kept = Glass.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None  # the result is still in the queue
    same = kept.settings.model_copy(update={"max_relax_steps": wanted.max_relax_steps}) == wanted
    is_of = run.state().get("identity", {}).get("start") == start.content_id
    return kept if same and is_of and kept.models == models else None


def describe_glass(found: Glass) -> list[str]:
    """The network in words."""
    own = found.network
    lines = [
        f"{found.structure.formula}, {len(found.structure)} atoms, {own.density_g_cm3:.2f} g/cm3, "
        f"{found.energy_ev / len(found.structure):.4f} eV/atom, largest force {found.max_force_ev_per_ang:.3f} eV/A "
        f"after {found.n_relax_steps} steps" + ("" if found.is_relaxed else ": NOT relaxed, raise --relax-steps"),
        f"coordination {own.coordination}",
        f"oxygen {own.bridges}; P by P-O-P bridges {own.q}",
    ]
    if own.nitrogen:
        lines.append(f"nitrogen {own.nitrogen} (Na apical, Nd between two P, Nt between three)")
    lines.append(f"units {own.units}; groups of P by size {own.clusters}")
    return lines
