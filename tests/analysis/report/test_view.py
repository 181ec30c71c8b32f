"""What the report shows, before it is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from surfshift.analysis.report.view import View, number_ranges, reference_line, shorten, slug, split_isotope, stagger

if TYPE_CHECKING:
    from surfshift.analysis.vocabulary import StudyResult


def test_a_candidate_looks_the_same_everywhere_and_unlike_the_others(result: StudyResult) -> None:
    view = View(result)
    looks = [view.look(r.candidate.name) for r in result.relaxations]
    assert len(set(looks)) == len(looks)
    drawn = {lane.name: lane.look for chart in view.line_charts for lane in chart.lanes}
    drawn |= {lane.name: lane.look for chart in view.coupling_charts for lane in chart.lanes}
    assert drawn == {r.candidate.name: view.look(r.candidate.name) for r in result.relaxations}


def test_profile_has_the_share_of_atoms_of_every_line(result: StudyResult) -> None:
    for chart in View(result).line_charts:
        axis = np.linspace(*chart.range_ppm, 40_001)
        for lane in chart.lanes:
            profile = lane.profile(axis)
            assert profile.max() == pytest.approx(1.0)
            weights = np.array([site.multiplicity for site in lane.sites], dtype=float)
            mean = float((profile * axis).sum() / profile.sum())
            assert mean == pytest.approx(float(weights @ lane.positions_ppm / weights.sum()), abs=0.05)


def test_observed_positions_contain_the_quadrupolar_shift(result: StudyResult) -> None:
    view = View(result)
    isotropic, observed = (c for c in view.line_charts if c.isotope == "27Al")
    assert (isotropic.field_tesla, observed.field_tesla) == (None, 9.4)
    assert [m.label for m in isotropic.measured] == ["Al(1)"]
    assert [m.label for m in observed.measured] == ["shoulder"]
    for before, after in zip(isotropic.lanes, observed.lanes, strict=True):
        assert np.all(after.positions_ppm < before.positions_ppm)


def test_only_quadrupolar_nuclei_have_a_coupling_chart(result: StudyResult) -> None:
    assert [chart.isotope for chart in View(result).coupling_charts] == ["27Al"]


def test_energies_are_compared_only_within_one_composition(result: StudyResult) -> None:
    assert View(result).relative_energies_ev == {}
    slab = next(r for r in result.relaxations if r.candidate.kind == "slab")
    twin = slab.candidate.model_copy(update={"name": "twin"})
    higher = slab.model_copy(update={"candidate": twin, "energy_ev": slab.energy_ev + 0.25})
    lost = higher.model_copy(
        update={"candidate": twin.model_copy(update={"name": "unconverged"}), "is_converged": False}
    )
    more = result.model_copy(update={"relaxations": (*result.relaxations, higher, lost)})
    energies = View(more).relative_energies_ev
    assert set(energies) == {slab.candidate.name, "twin"}
    assert energies[slab.candidate.name] == 0.0
    assert energies["twin"] == pytest.approx(0.25)


def test_prediction_band_is_never_narrower_than_a_site(result: StudyResult) -> None:
    for reference in result.references:
        line = reference_line(reference)
        assert np.all(line.band_ppm >= 1.6448 * reference.site_error_ppm)
        middle = int(np.argmin(np.abs(line.sigma_ppm - reference.sigma_mean_ppm)))
        assert line.band_ppm[middle] == pytest.approx(line.band_ppm.min(), rel=1e-3)
        assert line.band_ppm[0] > line.band_ppm.min()


@given(
    st.lists(
        st.tuples(
            st.floats(min_value=-200, max_value=200, allow_nan=False),
            st.floats(min_value=0.1, max_value=80, allow_nan=False),
        ),
        max_size=15,
    )
)
def test_staggered_labels_do_not_overlap(labels: list[tuple[float, float]]) -> None:
    rows = stagger([x for x, _ in labels], [w for _, w in labels])
    for i, (x, width) in enumerate(labels):
        for j, (other, other_width) in enumerate(labels):
            if i < j and rows[i] == rows[j]:
                assert abs(x - other) >= (width + other_width) / 2 - 1e-6


def test_one_label_needs_one_row() -> None:
    assert stagger([], []) == []
    assert stagger([3.0, 90.0], [5.0, 5.0]) == [0, 0]
    assert sorted(stagger([3.0, 4.0, 5.0], [5.0, 5.0, 5.0])) == [0, 1, 2]


def test_small_words() -> None:
    assert number_ranges([5, 0, 1, 2]) == "0–2, 5"
    assert number_ranges([]) == ""
    assert split_isotope("27Al") == ("27", "Al")
    assert split_isotope("x") == ("", "x")
    assert slug("../../etc/<b>") == "etc-b"
    assert slug("α") == "x"
    assert len(shorten("a" * 300)) == 40
    assert shorten("short") == "short"
