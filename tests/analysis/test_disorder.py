import math
import warnings

import numpy as np
import pytest
from surfshift.analysis.disorder import czjzek_density, czjzek_nodes, distributed_line, extended_czjzek_nodes
from surfshift.analysis.lines import LineShapeError
from surfshift.analysis.mqmas import NotQuadrupolarError, triple_quantum_line, triple_quantum_position_ppm
from surfshift.analysis.tensors import second_order_shift_ppm


def test_czjzek_density_is_that_of_mrsimulator():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mrsimulator.models import CzjzekDistribution

        cq, eta = np.linspace(0.0, 12.0, 61), np.linspace(0.0, 1.0, 21)
        _, _, amplitude = CzjzekDistribution(sigma=1.2).pdf(pos=[cq, eta])
    theirs = amplitude.reshape(len(eta), len(cq))
    ours = czjzek_density(cq[None, :], eta[:, None], 1.2)
    # mrsimulator's last row is half a bin of its grid
    ours, theirs = (values[:-1] / values[:-1].sum() for values in (ours, theirs))
    assert ours == pytest.approx(theirs, abs=2e-2 * theirs.max())


def test_without_a_fixed_tensor_the_extended_distribution_is_czjzek():
    cq, eta, weights = czjzek_nodes(1.0)
    drawn_cq, drawn_eta, drawn = extended_czjzek_nodes(0.0, 0.0, 1.0)
    assert drawn @ drawn_cq == pytest.approx(weights @ cq, rel=0.01)
    assert drawn @ drawn_cq**2 == pytest.approx(weights @ cq**2, rel=0.01)
    assert drawn @ drawn_eta == pytest.approx(weights @ eta, rel=0.01)


def test_little_noise_leaves_the_fixed_tensor():
    cq, eta, _ = extended_czjzek_nodes(5.0, 0.4, 0.01)
    assert cq.mean() == pytest.approx(5.0, abs=0.01)
    assert eta.mean() == pytest.approx(0.4, abs=0.01)


def test_a_disordered_line_has_its_tail_towards_low_shift():
    axis = np.arange(-150.0, 100.0, 0.5)
    line = distributed_line(
        czjzek_nodes(1.0),
        "27Al",
        axis,
        delta_iso_ppm=50.0,
        field_tesla=9.4,
        mas_rate_hz=math.inf,
        gaussian_ppm=3.0,
    )
    assert line.sum() * 0.5 == pytest.approx(1.0, abs=0.01)
    centre, top = (axis @ line) / line.sum(), axis[line.argmax()]
    assert centre < top < 50.0
    # the centre of gravity is that of the mean squared coupling
    from surfshift.analysis.constants import isotope, larmor_mhz

    cq, eta, weights = czjzek_nodes(1.0)
    nucleus = isotope("27Al")
    shifts = [
        second_order_shift_ppm(nucleus, cq_mhz=float(c), eta=float(e), larmor_mhz=larmor_mhz(nucleus, 9.4))
        for c, e in zip(cq, eta, strict=True)
    ]
    assert centre == pytest.approx(50.0 + float(weights @ np.array(shifts)), abs=0.3)


def test_triple_quantum_and_central_position_give_the_shift_back():
    from surfshift.analysis.constants import isotope, larmor_mhz

    nucleus = isotope("27Al")
    delta, cq, eta, field = 44.5, 4.09, 0.37, 9.4
    first = triple_quantum_position_ppm("27Al", delta_iso_ppm=delta, cq_mhz=cq, eta=eta, field_tesla=field)
    second = delta + second_order_shift_ppm(nucleus, cq_mhz=cq, eta=eta, larmor_mhz=larmor_mhz(nucleus, field))
    # Massiot et al. (1996): delta_iso = (17 F1 + 10 F2) / 27
    assert (17.0 * first + 10.0 * second) / 27.0 == pytest.approx(delta)
    assert first > delta > second
    axis = np.linspace(0, 100, 1001)
    line = triple_quantum_line(axis, first, 1.0)
    assert axis[line.argmax()] == pytest.approx(first, abs=0.1)
    assert line.sum() * 0.1 == pytest.approx(1.0, abs=1e-6)


def test_what_cannot_be_is_refused():
    with pytest.raises(LineShapeError, match="above 0 MHz"):
        czjzek_nodes(0.0)
    with pytest.raises(NotQuadrupolarError, match="31P has spin"):
        triple_quantum_position_ppm("31P", delta_iso_ppm=0.0, cq_mhz=0.0, eta=0.0, field_tesla=9.4)
