"""Pictures of a candidate: side and top view, parallel projection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...structures.accepting import as_structure
from ...structures.vocabulary import Region
from .answer_figures import draw_marks

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from ...structures.accepting import StructureLike
    from ...structures.vocabulary import AtomicStructure, Candidate

    Colour = tuple[float, float, float]

BACKGROUND = "#f3f4f5"
INK = "#1a1c1e"
PLAIN_EDGE = (0.25, 0.25, 0.25)
SURFACE_EDGE = "#0072B2"
ADSORBATE_EDGE = "#D55E00"
MARK = "#CC2A9A"
MARK_GAP_ANG = 0.22
"""How far the ring of a marked atom lies outside its ball."""

BALL_SHARE = 0.55
"""Drawn radius as a share of the covalent radius, so that bonds stay visible."""

LEAST_WIDTH_ANG = 8.0
"""Cells narrower than this are repeated."""

MAX_SIZE_INCH = (3.5, 3.4)
SCALE_BAR_ANG = 5.0
STICK_ANG = 0.16
LEGEND_ANG = 2.0


@dataclass(frozen=True)
class Scene:
    """Balls and sticks of a picture.

    Attributes
    ----------
    atoms
        Index in the structure of every ball.
    positions
        Cartesian positions of the balls, shape (n, 3), angstrom.
    sticks
        Pairs of balls that are bonded.
    """

    atoms: tuple[int, ...]
    positions: NDArray[np.float64]
    sticks: tuple[tuple[int, int], ...]


def build_scene(structure: StructureLike, repeats: tuple[int, int] = (1, 1)) -> Scene:
    """Balls and sticks of a structure, with the surroundings of every cation complete.

    The cations of the cell (and of its repeats along the first two vectors) come with all their anions, and these with
    all their hydrogen, across the cell's border where needed; molecules stay in one piece. Atoms without bonds stay
    where they are.
    """
    structure = as_structure(structure)
    from ...structures.bonding import find_bonds, find_carbon_bonds

    bonds, elements = find_bonds(structure), structure.elements
    balls: dict[tuple[int, int, int, int], int] = {}
    sticks: list[tuple[int, int]] = []

    def ball(atom: int, image: Sequence[int] | NDArray[Any]) -> int:
        return balls.setdefault((atom, int(image[0]), int(image[1]), int(image[2])), len(balls))

    for shift in [np.array([x, y, 0]) for x in range(repeats[0]) for y in range(repeats[1])]:
        for i, around in enumerate(bonds):
            if not around:
                ball(i, shift)
            elif structure.oxidation_states[i] > 0 and elements[i] != "H":
                sticks += [(ball(i, shift), ball(bond.j, shift + bond.image)) for bond in around]
    bare_oh = [i for i, around in enumerate(bonds) if around and all(elements[bond.j] == "H" for bond in around)]
    for i in bare_oh:
        ball(i, (0, 0, 0))
    for (i, *cell), number in list(balls.items()):
        if structure.oxidation_states[i] < 0:
            hydrogens = [bond for bond in bonds[i] if elements[bond.j] == "H"]
            sticks += [(number, ball(bond.j, np.array(cell) + bond.image)) for bond in hydrogens]
    carbon: dict[int, list[tuple[int, tuple[int, int, int]]]] = {}
    for i, j, across in find_carbon_bonds(structure):
        carbon.setdefault(i, []).append((j, across))
        carbon.setdefault(j, []).append((i, (-across[0], -across[1], -across[2])))
    organic = set(carbon) | {b.j for i in carbon for b in bonds[i] if elements[i] == "C"}
    queue = [key for key in balls if key[0] in carbon]
    joined: set[tuple[int, int]] = set()
    while queue:
        key = queue.pop()
        near = [*carbon.get(key[0], [])]
        near += [(b.j, b.image) for b in bonds[key[0]] if elements[key[0]] == "C" and b.j in organic]
        for j, across in near:
            other = (j, key[1] + across[0], key[2] + across[1], key[3] + across[2])
            if other not in balls:
                queue.append(other)
            pair = (ball(key[0], key[1:]), ball(j, other[1:]))
            if pair not in joined and pair[::-1] not in joined and pair not in sticks and pair[::-1] not in sticks:
                joined.add(pair)
    sticks += sorted(joined)
    images = np.array([key[1:] for key in balls])
    atoms = tuple(key[0] for key in balls)
    return Scene(atoms, structure.cart_coords[list(atoms)] + images @ structure.lattice, tuple(sticks))


def view_frames(lattice: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Side and top view of a cell: each a (3, 3) rotation whose rows are right, up and towards the reader."""
    normal = np.cross(lattice[0], lattice[1])
    normal /= np.linalg.norm(normal)
    right = lattice[0] / np.linalg.norm(lattice[0])
    inward = np.cross(normal, right)
    return np.array([right, normal, -inward]), np.array([right, inward, normal])


def candidate_figure(
    candidate: Candidate, *, marked: Collection[int] = (), labels: Mapping[int, str] | None = None
) -> Figure:
    """Side view (left) and top view (right) of a candidate, on one scale.

    Atoms of the surface have a blue edge, adsorbed ones an orange edge; atoms further away are paler. ``marked`` atoms,
    such as undercoordinated ones, have a ring around them, in the top view only those of the upper half. Atoms in
    ``labels`` get a ring too, and the nearest of each label its text.
    """
    from matplotlib.figure import Figure

    structure = candidate.structure
    lengths = np.linalg.norm(structure.lattice[:2], axis=1)
    along, across = (int(n) for n in np.ceil(LEAST_WIDTH_ANG / lengths))
    scenes = build_scene(structure, (along, 1)), build_scene(structure, (along, across))
    radii = drawn_radii(structure)
    flats = [scene.positions @ frame.T for scene, frame in zip(scenes, view_frames(structure.lattice), strict=True)]
    margins = [radii[list(scene.atoms)][:, None] + 0.3 for scene in scenes]
    lows = [(flat[:, :2] - margin).min(axis=0) for flat, margin in zip(flats, margins, strict=True)]
    spans = [(flat[:, :2] + margin).max(axis=0) - low for flat, margin, low in zip(flats, margins, lows, strict=True)]
    width = float(spans[0][0] + spans[1][0]) + 1.4
    height = float(max(spans[0][1], spans[1][1])) + LEGEND_ANG + 1.2
    scale = min(MAX_SIZE_INCH[0] / width, MAX_SIZE_INCH[1] / height)
    figure = Figure(figsize=(width * scale, height * scale), facecolor=BACKGROUND)
    left = 0.2
    for scene, flat, low, span, frame, name in zip(
        scenes, flats, lows, spans, view_frames(structure.lattice), ("side", "top"), strict=True
    ):
        place = (left / width, (height - 1.2 - span[1]) / height, span[0] / width, span[1] / height)
        axes = figure.add_axes(
            place, facecolor="none", xlim=(low[0], low[0] + span[0]), ylim=(low[1], low[1] + span[1])
        )
        axes.axis("off")
        _draw_cell(axes, structure.lattice @ frame.T)
        heights = structure.cart_coords[:, 2]
        middle = 0.5 * (heights.max() + heights.min())
        rings = {k for k in marked if name == "side" or heights[k] >= middle}
        _draw_scene(axes, candidate, scene, flat, rings)
        if labels:
            draw_marks(axes, flat, scene.atoms, dict(labels))
        figure.text(
            (left + span[0] / 2) / width, 1 - 0.6 / height, name, ha="center", va="center", fontsize=7, color=INK
        )
        left += float(span[0]) + 1.0
    legend = figure.add_axes((0, 0, 1, LEGEND_ANG / height), xlim=(0, width), ylim=(0, LEGEND_ANG))
    legend.axis("off")
    _draw_legend(legend, structure, scale, has_rings=bool(marked))
    return figure


def _draw_cell(axes: Axes, flat_lattice: NDArray[np.float64]) -> None:
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    points = corners @ flat_lattice
    for i in range(8):
        for j in range(i):
            if np.abs(corners[i] - corners[j]).sum() == 1:
                axes.plot(*points[[i, j], :2].T, color="#8b939b", lw=0.6, zorder=0)


def _draw_scene(
    axes: Axes, candidate: Candidate, scene: Scene, flat: NDArray[np.float64], rings: Collection[int] = ()
) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Circle, Patch, Polygon

    colours, radii = atom_colours(candidate.structure), drawn_radii(candidate.structure)
    depth = flat[:, 2] - flat[:, 2].min()
    pale = 0.55 * (1 - depth / depth.max()) if depth.max() > 0 else np.zeros(len(depth))
    drawn: list[tuple[float, Patch]] = []
    for i, j in scene.sticks:
        along = flat[j, :2] - flat[i, :2]
        length = float(np.linalg.norm(along))
        if length < 1e-6:
            continue
        side = 0.5 * STICK_ANG * np.array([-along[1], along[0]]) / length
        for end, start in ((i, flat[i, :2]), (j, flat[j, :2])):
            middle = (flat[i, :2] + flat[j, :2]) / 2
            corners = [start + side, middle + side, middle - side, start - side]
            fill, edge = _paler(colours[scene.atoms[end]], pale[end]), _paler(PLAIN_EDGE, pale[end])
            drawn.append((float(min(depth[i], depth[j])), Polygon(corners, fc=fill, ec=edge, lw=0.4)))
    for ball, atom in enumerate(scene.atoms):
        edge, weight = _edge(candidate.regions[atom])
        radius, order = float(radii[atom]), float(depth[ball]) + 0.01
        x, y = float(flat[ball, 0]), float(flat[ball, 1])
        fill = _paler(colours[atom], pale[ball])
        shine = (x - 0.3 * radius, y + 0.3 * radius)
        drawn.append((order, Circle((x, y), radius, fc=fill, ec=_paler(edge, pale[ball]), lw=weight)))
        drawn.append((order, Circle(shine, 0.33 * radius, fc=(1, 1, 1, 0.4), ec="none", lw=0)))
        if atom in rings:
            ring = Circle((x, y), radius + MARK_GAP_ANG, fc="none", ec=_paler(to_rgb(MARK), pale[ball]), lw=1.3)
            drawn.append((order, ring))
    drawn.sort(key=lambda item: item[0])
    # one collection draws in the order of its members and is far quicker than single patches
    axes.add_collection(PatchCollection([patch for _, patch in drawn], match_original=True))


def _draw_legend(axes: Axes, structure: AtomicStructure, scale: float, *, has_rings: bool = False) -> None:
    from matplotlib.patches import Circle

    colours, radii = atom_colours(structure), drawn_radii(structure)
    middle, left = 0.5 * LEGEND_ANG, 0.5
    for element in dict.fromkeys(structure.elements):
        index = structure.elements.index(element)
        radius = min(float(radii[index]), 0.46 * LEGEND_ANG)
        axes.add_patch(Circle((left + radius, middle), radius, fc=colours[index], ec="#404040", lw=0.5))
        axes.text(left + 2 * radius + 0.2, middle, element, va="center", fontsize=7, color=INK)
        left += 2 * radius + 0.6 + 0.08 * len(element) / scale
    if has_rings:
        axes.add_patch(Circle((left + 0.5, middle), 0.5, fc="none", ec=MARK, lw=1.3))
        axes.text(left + 1.2, middle, "open", va="center", fontsize=7, color=INK)
    right = axes.get_xlim()[1] - 0.5
    bar = SCALE_BAR_ANG if right - left > SCALE_BAR_ANG + 0.5 else 2.0
    axes.plot([right - bar, right], [0.55 * middle] * 2, color=INK, lw=1.5, solid_capstyle="butt")
    axes.text(right - bar / 2, 0.8 * middle, f"{bar:.0f} Å", ha="center", va="bottom", fontsize=7, color=INK)


def _edge(region: Region) -> tuple[Colour, float]:
    from matplotlib.colors import to_rgb

    named = {Region.SURFACE: (to_rgb(SURFACE_EDGE), 1.2), Region.ADSORBATE: (to_rgb(ADSORBATE_EDGE), 1.2)}
    return named.get(region, (PLAIN_EDGE, 0.5))


def drawn_radii(structure: StructureLike) -> NDArray[np.float64]:
    """Drawn radii of the atoms, shape (n,), angstrom."""
    structure = as_structure(structure)
    from ase.data import atomic_numbers, covalent_radii

    return BALL_SHARE * np.array([covalent_radii[atomic_numbers[element]] for element in structure.elements])


def atom_colours(structure: StructureLike) -> list[Colour]:
    """Colour of every atom as in jmol, red, green and blue from 0 to 1."""
    structure = as_structure(structure)
    from ase.data import atomic_numbers
    from ase.data.colors import jmol_colors

    return [tuple(jmol_colors[atomic_numbers[element]]) for element in structure.elements]


def _paler(colour: Colour, share: float) -> Colour:
    from matplotlib.colors import to_rgb

    red, green, blue = (1 - share) * np.array(colour) + share * np.array(to_rgb(BACKGROUND))
    return float(red), float(green), float(blue)
