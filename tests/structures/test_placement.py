"""The placement engine: rotations, contacts across the cell's border, symmetric copies, the best trial."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from surfshift.structures.bonding import covalent_distance
from surfshift.structures.placement import (
    CLASH_RATIO,
    IDENTITY,
    Group,
    Host,
    contact_limits,
    orientation_grid,
    place_group,
    rotation_about,
    rotation_between,
    sphere_directions,
)

HOST = Host(("O",), np.array([-2.0]), np.array([[0.2, 5.0, 3.0]]), np.diag([10.0, 10.0, 30.0]))
LITHIUM = Group(("Li",), (1.0,), (1.0,), {})
UNIT = st.lists(st.floats(-1, 1), min_size=3, max_size=3).filter(lambda v: np.linalg.norm(v) > 0.1)


@given(UNIT, UNIT)
def test_rotation_between_turns_one_direction_into_the_other(a: list[float], b: list[float]) -> None:
    start, end = np.array(a), np.array(b)
    rotation = rotation_between(start, end)
    assert rotation @ start / np.linalg.norm(start) == pytest.approx(end / np.linalg.norm(end), abs=1e-6)
    assert np.linalg.det(rotation) == pytest.approx(1.0)


def test_opposite_directions_need_half_a_turn() -> None:
    z = np.array([0.0, 0.0, 1.0])
    assert rotation_between(z, -z) @ z == pytest.approx(-z)
    assert np.linalg.det(rotation_between(z, -z)) == pytest.approx(1.0)


def test_grid_holds_proper_rotations_and_covers_the_group() -> None:
    grid = orientation_grid(40, 12)
    assert np.linalg.det(grid) == pytest.approx(np.ones(len(grid)))
    assert np.einsum("rij,rkj->rik", grid, grid) == pytest.approx(np.broadcast_to(np.eye(3), grid.shape), abs=1e-9)
    wanted = rotation_about(np.array([1.0, 2.0, 3.0]), 1.234)
    angles = np.degrees(np.arccos(np.clip((np.einsum("rij,ij->r", grid, wanted) - 1) / 2, -1, 1)))
    assert angles.min() < 30.0


def test_directions_are_spread_evenly() -> None:
    assert sphere_directions(200).mean(axis=0) == pytest.approx(np.zeros(3), abs=0.01)
    covariance = np.cov(sphere_directions(2000).T)
    assert covariance == pytest.approx(np.eye(3) / 3, abs=0.01)


@given(st.sampled_from(["H", "C", "O", "Li", "Al", "P", "Cl", "La"]), st.sampled_from(["H", "C", "O", "Cl", "Zr"]))
def test_limits_are_symmetric_and_never_below_the_clash_ratio(a: str, b: str) -> None:
    charges = {"H": 1.0, "C": -2.0, "O": -2.0, "Cl": -1.0, "Li": 1.0, "Al": 3.0, "P": 5.0, "La": 3.0, "Zr": 4.0}
    first = contact_limits(a, charges[a], b, charges[b])
    assert first == contact_limits(b, charges[b], a, charges[a])
    assert CLASH_RATIO * covalent_distance(a, b) <= first[0] < first[1]


def test_contacts_are_seen_across_the_border() -> None:
    near = np.array([[[9.9, 5.0, 3.5]]])
    assert place_group(HOST, LITHIUM, near) is None
    far = np.array([[[5.0, 5.0, 3.5]]])
    assert place_group(HOST, LITHIUM, far) is not None


def test_a_cation_goes_to_the_anion() -> None:
    trials = np.array([[[x, 5.0, 3.0]] for x in (2.2, 3.5, 5.0)])
    placed = place_group(HOST, LITHIUM, trials)
    assert placed is not None
    assert placed.positions[0, 0, 0] == pytest.approx(2.2)


def test_a_copy_that_would_touch_is_refused() -> None:
    half_turn = (np.diag([-1.0, -1.0, 1.0]), np.array([10.0, 10.0, 0.0]))
    touching = np.array([[[5.5, 5.5, 8.0]]])
    assert place_group(HOST, LITHIUM, touching, motions=(IDENTITY, half_turn)) is None
    apart = np.array([[[7.0, 7.0, 8.0]]])
    placed = place_group(HOST, LITHIUM, apart, motions=(IDENTITY, half_turn))
    assert placed is not None
    assert placed.positions[1, 0] == pytest.approx([3.0, 3.0, 8.0])
