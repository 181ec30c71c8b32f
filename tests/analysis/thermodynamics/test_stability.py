"""Which termination is stable: probabilities, transition temperatures, pictures and the Wulff shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk as ase_bulk
from PIL import Image
from scipy.stats import norm
from surfshift.analysis.thermodynamics.figures import draw_line_diagram, draw_map
from surfshift.analysis.thermodynamics.gases import load_gas, thermal_potential_ev
from surfshift.analysis.thermodynamics.stability import (
    stability_map,
    stable_termination,
    transition_temperature,
)
from surfshift.analysis.thermodynamics.surface import State, SurfaceSystem, ThermodynamicsError, surface_free_energies
from surfshift.analysis.thermodynamics.wulff import draw_wulff, wulff_shares
from surfshift.structures.vocabulary import AtomicStructure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MILLIBAR = State(pressures_bar={"H2O": 1e-3})


def at(temperature: float, bar: float = 1e-3) -> State:
    return State(temperature_k=temperature, pressures_bar={"H2O": bar})


def test_probability_is_that_of_the_normal_distribution(water_system: Callable[..., SurfaceSystem]) -> None:
    system = water_system(-0.45, water_error_ev=0.15)
    verdict = stable_termination(system, at(400.0), n_samples=40000)
    dry, wet = verdict.energies.gamma_ev_per_ang2
    expected = norm.cdf((dry - wet) / (4 * 0.15 / 110))
    assert verdict.probabilities[1] == pytest.approx(expected, abs=0.01)
    assert 0.02 < expected < 0.98
    assert sum(verdict.probabilities) == pytest.approx(1.0)
    assert verdict.name == ("wet" if wet < dry else "dry")


def test_without_errors_everything_is_certain(water_system: Callable[..., SurfaceSystem]) -> None:
    system = water_system(-1.2, water_error_ev=0.0)
    assert (stable_termination(system, at(250.0, 1e-4)).name, stable_termination(system, at(900.0)).name) == (
        "wet",
        "dry",
    )
    assert stable_termination(system, at(900.0)).probability == 1.0


def test_transition_is_where_the_potential_of_water_equals_the_uptake(
    water_system: Callable[..., SurfaceSystem],
) -> None:
    system = water_system(-1.2, water_error_ev=0.1)
    change = transition_temperature(system, MILLIBAR, "dry", "wet")
    assert (change.cold, change.hot) == ("wet", "dry")
    assert change.temperature_k is not None
    potential = load_gas("H2O").zero_point_ev + thermal_potential_ev("H2O", change.temperature_k, 1e-3)
    assert potential == pytest.approx(-1.2, abs=1e-3)
    low, high = change.interval_k
    for end, shift in ((low, 1.645), (high, -1.645)):
        potential = load_gas("H2O").zero_point_ev + thermal_potential_ev("H2O", end, 1e-3)
        assert potential == pytest.approx(-1.2 + 0.1 * shift, abs=0.02)
    assert change.share_within == 1.0
    # in a better vacuum it dries at a lower temperature
    vacuum = transition_temperature(system, State(pressures_bar={"H2O": 1e-8}), "wet", "dry")
    assert vacuum.temperature_k is not None
    assert vacuum.temperature_k < change.temperature_k - 100
    beyond = transition_temperature(water_system(-4.0), MILLIBAR, "dry", "wet")
    assert beyond.temperature_k is None
    assert (beyond.interval_k, beyond.share_within) == ((1000.0, 1000.0), 0.0)
    with pytest.raises(ThermodynamicsError, match="no termination 'wett'"):
        transition_temperature(system, MILLIBAR, "dry", "wett")


def test_terminations_that_do_not_cross_in_one_direction_are_refused(
    water_system: Callable[..., SurfaceSystem],
) -> None:
    system = water_system()
    same = system.slabs[0].model_copy(update={"name": "same"})
    with pytest.raises(ThermodynamicsError, match="turns round"):
        transition_temperature(system.model_copy(update={"slabs": (*system.slabs, same)}), MILLIBAR, "dry", "same")


def test_map_marks_where_water_condenses(water_system: Callable[..., SurfaceSystem]) -> None:
    best, probability = stability_map(
        water_system(-1.2), [[at(t, p) for t in (300.0, 400.0, 900.0)] for p in (1e-6, 0.5)]
    )
    assert best.tolist() == [[1, 1, 0], [-1, 1, 0]] or best.tolist() == [[1, 0, 0], [-1, 1, 0]]
    assert probability[1, 0] == 0.0
    assert (probability[best >= 0] >= 0.5).all()


def test_pictures_are_drawn_and_refuse_what_shows_nothing(
    water_system: Callable[..., SurfaceSystem], cu3au_system: SurfaceSystem, tmp_path: Path
) -> None:
    x = list(np.linspace(-0.06, 0.02, 17))
    line = draw_line_diagram(
        cu3au_system, [State(potentials_ev={"Au": v}) for v in x], tmp_path / "line.png", x=x, x_label="mu / eV"
    )
    area = draw_map(
        water_system(-1.2),
        lambda t, p: at(t, 10**p),
        tmp_path / "map.png",
        x=list(np.linspace(200, 900, 8)),
        y=[-8.0, -5.0, -2.0],
        x_label="T / K",
        y_label="log p",
        marks=[(393.0, -2.0, "oven")],
    )
    for picture in (line, area):
        pixels = np.asarray(Image.open(picture).convert("RGB"))
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
    gold_rich = [State(potentials_ev={"Au": v}) for v in (5.0, 6.0)]
    with pytest.raises(ThermodynamicsError, match="stable in none"):
        draw_line_diagram(cu3au_system, gold_rich, tmp_path / "n.png", x=[5.0, 6.0], x_label="mu")
    with pytest.raises(ThermodynamicsError, match="at least two states"):
        draw_line_diagram(cu3au_system, gold_rich[:1], tmp_path / "n.png", x=[5.0], x_label="mu")
    fine = [State(potentials_ev={"Au": v}) for v in (-0.03, -0.01)]
    with pytest.raises(ThermodynamicsError, match="cannot write the picture"):
        draw_line_diagram(cu3au_system, fine, tmp_path / "no" / "n.png", x=[0.0, 1.0], x_label="mu")
    assert not (tmp_path / "n.png").exists()


def copper() -> AtomicStructure:
    atoms = ase_bulk("Cu", cubic=True)
    return AtomicStructure(
        lattice_ang=tuple(map(tuple, np.array(atoms.cell).tolist())),
        elements=("Cu",) * 4,
        frac_coords=tuple(map(tuple, atoms.get_scaled_positions().tolist())),
        oxidation_states=(0.0,) * 4,
    )


def test_wulff_shape_of_a_cube_and_a_cuboctahedron(tmp_path: Path) -> None:
    cube = wulff_shares(copper(), {(1, 0, 0): 0.05, (1, 1, 1): 0.2})
    assert [share.share for share in cube] == pytest.approx([1.0, 0.0])
    # gamma111 / gamma100 = 2 / sqrt 3: the corners of the cube are just cut to the middle of its edges
    cut = wulff_shares(copper(), {(1, 0, 0): 0.06, (1, 1, 1): 0.06 * 2 / 3**0.5}, errors_ev_per_ang2={(1, 0, 0): 0.005})
    squares, triangles = 6 * 2.0, 8 * 3**0.5 / 4 * 2.0
    assert cut[0].share == pytest.approx(squares / (squares + triangles), rel=1e-3)
    assert cut[0].share_error > 0.02
    picture = draw_wulff(copper(), {(1, 0, 0): 0.06, (1, 1, 1): 0.06}, tmp_path / "wulff.png")
    assert np.asarray(Image.open(picture)).std() > 5


def test_impossible_wulff_shapes_are_refused() -> None:
    with pytest.raises(ThermodynamicsError, match=r"of \(1, 1, 1\) is not positive"):
        wulff_shares(copper(), {(1, 0, 0): 0.05, (1, 1, 1): -0.01})
    with pytest.raises(ThermodynamicsError, match=r"\(0, 1, 0\) and \(1, 0, 0\) are equal"):
        wulff_shares(copper(), {(1, 0, 0): 0.05, (0, 1, 0): 0.06})


def test_json_round_trip(water_system: Callable[..., SurfaceSystem]) -> None:
    for result in (
        stable_termination(water_system(), at(400.0)),
        transition_temperature(water_system(), MILLIBAR, "dry", "wet"),
    ):
        assert type(result).model_validate_json(result.model_dump_json()) == result
    assert surface_free_energies(water_system(), at(400.0)).names == ("dry", "wet")
