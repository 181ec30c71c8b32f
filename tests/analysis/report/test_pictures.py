"""Pictures of candidates: what is bonded to what, and the directions of the views."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from surfshift.analysis.report.figures import png
from surfshift.analysis.report.pictures import build_scene, candidate_figure, view_frames
from surfshift.structures.bonding import coordination_numbers

if TYPE_CHECKING:
    from surfshift.analysis.vocabulary import StudyResult


def test_every_cation_is_drawn_with_all_its_bonds(result: StudyResult) -> None:
    for relaxation in result.relaxations:
        structure = relaxation.candidate.structure
        numbers = coordination_numbers(structure)
        scene = build_scene(structure)
        drawn = dict.fromkeys(range(len(scene.atoms)), 0)
        for pair in scene.sticks:
            for ball in pair:
                drawn[ball] += 1
        cations = [ball for ball, atom in enumerate(scene.atoms) if structure.elements[atom] in {"Al", "P"}]
        assert len(cations) == sum(element in {"Al", "P"} for element in structure.elements)
        assert [drawn[ball] for ball in cations] == [numbers[scene.atoms[ball]] for ball in cations]


def test_hydroxyl_groups_stay_together(result: StudyResult) -> None:
    structure = next(r.candidate.structure for r in result.relaxations if "H" in r.candidate.structure.elements)
    scene = build_scene(structure, (2, 2))
    hydrogens = {ball for ball, atom in enumerate(scene.atoms) if structure.elements[atom] == "H"}
    assert {scene.atoms[ball] for ball in hydrogens} == {i for i, e in enumerate(structure.elements) if e == "H"}
    partners = [pair for pair in scene.sticks if hydrogens & set(pair)]
    assert len(partners) == len(hydrogens)
    for a, b in partners:
        assert np.linalg.norm(scene.positions[a] - scene.positions[b]) < 1.1


def test_repeats_multiply_the_cations(result: StudyResult) -> None:
    structure = result.relaxations[0].candidate.structure
    counts = [
        sum(structure.elements[atom] == "P" for atom in build_scene(structure, repeats).atoms)
        for repeats in [(1, 1), (2, 1), (2, 3)]
    ]
    assert counts == [counts[0], 2 * counts[0], 6 * counts[0]]


def test_views_are_rotations_along_and_across_the_face(result: StudyResult) -> None:
    lattice = result.relaxations[1].candidate.structure.lattice
    side, top = view_frames(lattice)
    for frame in (side, top):
        np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(frame) == pytest.approx(1.0)
    # from the side the first vector lies flat, from the top both in-plane vectors do
    assert (side @ lattice[0])[1] == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose((lattice[:2] @ top.T)[:, 2], 0.0, atol=1e-9)
    assert (side @ np.cross(lattice[0], lattice[1]))[1] > 0


def test_picture_shows_something(result: StudyResult) -> None:
    from io import BytesIO

    from PIL import Image

    image = Image.open(BytesIO(png(lambda: candidate_figure(result.relaxations[1].candidate))))
    assert min(image.size) > 60
    colours = np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)
    assert len(colours) > 50
