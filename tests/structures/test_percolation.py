import pytest
from pymatgen.core import Lattice, Structure
from surfshift.structures.percolation import widest_path


def test_simple_cubic_oxygen_by_hand():
    """The widest way leads through the middle of a cube's face: a/sqrt(2) from the anions, less their radius."""
    cube = Structure(Lattice.cubic(4.0), ["O"], [[0, 0, 0]])
    path = widest_path(cube)
    assert path.radius_ang == pytest.approx(4.0 / 2**0.5 - 1.40, abs=0.05)
    assert path.n_dimensions == 3


def test_layers_leave_a_plane():
    layers = Structure(Lattice.tetragonal(1.5, 6.0), ["O"], [[0, 0, 0]])
    assert widest_path(layers).n_dimensions == 2


def test_the_moving_ion_is_not_in_its_own_way():
    with_lithium = Structure(Lattice.cubic(4.0), ["O", "Li"], [[0, 0, 0], [0.5, 0.5, 0.0]])
    assert widest_path(with_lithium).radius_ang > 1.3


def test_a_supercell_has_the_same_bottleneck():
    cube = Structure(Lattice.cubic(4.2), ["O"], [[0, 0, 0]])
    assert widest_path(cube * (2, 1, 1)).radius_ang == pytest.approx(widest_path(cube).radius_ang, abs=0.05)


def test_dense_packing_is_blocked():
    assert widest_path(Structure(Lattice.cubic(2.0), ["O"], [[0, 0, 0]])).kind == "blocked"
