"""The decisions of an adaptive run, on candidates whose lines are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from surfshift.analysis.matching import MatchSettings
from surfshift.analysis.references import available_libraries
from surfshift.analysis.vocabulary import Experiment, Peak, PeakList, SiteTensors
from surfshift.structures.enumeration import bulk_candidate
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.workflows.adaptive import decide, scaled_none_prior, stages
from surfshift.workflows.candidates import Inputs
from surfshift.workflows.jobs import wanted_sites
from surfshift.workflows.study import NmrSettings, StudyFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from surfshift.analysis.vocabulary import Reference
    from surfshift.structures.vocabulary import Candidate

SHIPPED = next(library for library in available_libraries() if library.method.protocol == "fast")
REFERENCES = {isotope: SHIPPED.reference(isotope) for isotope in ("27Al", "31P")}
BETTER = SHIPPED.method.model_copy(update={"protocol": "balanced", "protocol_hash": "feed"})
CRYSTALS = {"quartz-like": "AlPO4_berlinite", "cristobalite-like": "AlPO4_cristobalite"}
SHIFTS = {"quartz-like": {"Al": 44.5, "P": -24.5}, "cristobalite-like": {"Al": 90.0, "P": -24.0}}


def candidates() -> list[Candidate]:
    return [bulk_candidate(build_crystal(load_crystal(crystal)), name=name) for name, crystal in CRYSTALS.items()]


def study(protocol: str = "fast") -> StudyFile:
    nmr = NmrSettings.model_validate({"isotopes": ["27Al", "31P", "17O"], "protocol": protocol})
    # in a high field and with lines seldom overlooked, one missing line speaks against a candidate, in mixtures too
    matching = MatchSettings(missed_probability=0.002, unexplained_rate=0.002)
    return StudyFile(study="made", crystal="AlPO4_berlinite", nmr=nmr, matching=matching)


def sites(candidate: Candidate, isotope: str, shifts: Mapping[str, Mapping[str, float]] = SHIFTS) -> list[SiteTensors]:
    """Tensors with which a candidate shows its line at its shift."""
    reference = REFERENCES[isotope]
    nmr = study().nmr.model_copy(update={"isotopes": (isotope,)})
    found = []
    for orbit in wanted_sites(candidate, nmr):
        sigma = (shifts[candidate.name][orbit.element] - reference.intercept_ppm) / reference.slope
        efg = {"Al": 0.117, "P": 0.0}[orbit.element] * np.diag([-0.3, -0.7, 1.0])
        found.append(
            SiteTensors(
                structure_id=candidate.structure.content_id,
                element=orbit.element,
                atom_indices=orbit.atom_indices,
                shielding_ppm=orbit.expand(sigma * np.eye(3)),
                efg_au=orbit.expand(efg),
                method=SHIPPED.method,
            )
        )
    return found


def measured() -> Inputs:
    aluminium = Peak(label="Al", delta_iso_ppm=44.5, delta_error_ppm=0.5, cq_mhz=4.0, cq_error_mhz=0.2)
    phosphorus = Peak(label="P", delta_iso_ppm=-24.5, delta_error_ppm=0.5)
    lists = (
        PeakList(name="Al", isotope="27Al", field_tesla=20.0, experiment=Experiment.ONE_PULSE, peaks=(aluminium,)),
        PeakList(name="P", isotope="31P", field_tesla=20.0, peaks=(phosphorus,)),
    )
    return Inputs(lists, REFERENCES, ())


def references_of(protocol: str) -> Mapping[str, Reference]:
    if protocol == "fast":
        return REFERENCES
    return {key: reference.model_copy(update={"method": BETTER}) for key, reference in REFERENCES.items()}


def test_the_isotope_with_most_values_per_site_comes_first_and_unmeasured_ones_never() -> None:
    plan = stages(study("balanced"), measured().measurements, {"27Al": 2, "31P": 2, "17O": 4})
    assert [(s.isotope, s.protocol) for s in plan] == [
        ("27Al", "fast"),
        ("31P", "fast"),
        ("27Al", "balanced"),
        ("31P", "balanced"),
    ]
    dear = stages(study(), measured().measurements, {"27Al": 20, "31P": 2, "17O": 4})
    assert [s.isotope for s in dear] == ["31P", "27Al"]


def test_a_run_opens_with_one_candidate_and_only_living_ones_get_the_second_isotope() -> None:
    both = candidates()
    first = decide(study(), measured(), both, [], references_of)
    assert first.stage is not None
    assert first.stage.isotope == "27Al"
    assert [(c.name, orbit.element) for c, orbit in first.todo] == [("quartz-like", "Al"), ("quartz-like", "P")]
    opening = [t for isotope in ("27Al", "31P") for t in sites(both[0], isotope)]
    # the opening is one piece, done or not
    assert [o.element for _, o in decide(study(), measured(), both, opening[:1], references_of).todo] == ["P"]
    second = decide(study(), measured(), both, opening, references_of)
    assert [(c.name, orbit.element) for c, orbit in second.todo] == [("cristobalite-like", "Al")]
    done = [*opening, *sites(both[1], "27Al")]
    last = decide(study(), measured(), both, done, references_of)
    assert last.todo == ()
    assert last.complete == ("27Al", "31P")
    assert [c.name for c in last.alive] == ["quartz-like"]
    (why,) = last.ruled_out.values()
    assert why.startswith("cristobalite-like was ruled out after 27Al with fast")
    # decided from the outputs alone, so it repeats
    assert decide(study(), measured(), both, done, references_of).notes == last.notes


def test_candidates_that_cannot_change_the_verdict_are_not_computed() -> None:
    """A coupling that two candidates of three do not have, nor anything like them: none of these."""
    aluminium, phosphorus = measured().measurements
    strange = [
        Peak(label=f"{d}", delta_iso_ppm=d, delta_error_ppm=0.5, cq_mhz=12.0, cq_error_mhz=0.2) for d in (-30.0, 0.0)
    ]
    inputs = Inputs((aluminium.model_copy(update={"peaks": tuple(strange)}), phosphorus), REFERENCES, ())
    near = {name: {"Al": 44.5 + step, "P": -24.5} for name, step in (("quartz-like", 0.0), ("cristobalite-like", 1.0))}
    both = candidates()
    third = both[0].model_copy(
        update={
            "name": "third",
            "structure": both[0].structure.moved_to(both[0].structure.cart_coords + np.array([0.1, 0.0, 0.0])),
        }
    )
    done = [t for isotope in ("27Al", "31P") for t in sites(both[0], isotope, shifts=near)]
    probe = decide(study(), inputs, [*both, third], done, references_of)
    assert len({c.id for c, _ in probe.todo}) == 1
    done += [t for isotope in ("27Al", "31P") for t in sites(both[1], isotope, shifts=near)]
    settled = decide(study(), inputs, [*both, third], done, references_of)
    assert settled.todo == ()
    assert settled.complete == ("27Al", "31P")
    assert {c.name for c in settled.alive} == set(CRYSTALS)
    assert list(settled.ruled_out.values()) == ["third was not computed in full: the verdict is settled without it"]
    assert any(note.startswith("settled: 'none of these'") for note in settled.notes)


def test_what_cannot_change_the_verdict_any_more_is_not_computed() -> None:
    """Two aluminium lines that nobody has: none of these, whatever phosphorus would show."""
    aluminium, phosphorus = measured().measurements
    strange = [
        Peak(label=f"{d}", delta_iso_ppm=d, delta_error_ppm=0.5, cq_mhz=9.0, cq_error_mhz=0.2) for d in (0.0, 20.0)
    ]
    foreign = aluminium.model_copy(update={"peaks": tuple(strange)})
    inputs = Inputs((foreign, phosphorus), REFERENCES, ())
    both = candidates()
    near = {"quartz-like": {"Al": 44.5, "P": -24.5}, "cristobalite-like": {"Al": 46.0, "P": -24.0}}
    done = [t for c in both for t in sites(c, "27Al", shifts=near)]
    probe = decide(study(), inputs, both, done, references_of)
    assert len({c.name for c, _ in probe.todo}) == 1
    (first,) = {c.name: c for c, _ in probe.todo}.values()
    settled = decide(study(), inputs, both, [*done, *sites(first, "31P", shifts=near)], references_of)
    assert settled.todo == ()
    assert settled.complete == ("27Al",)
    assert "settled: 'none of these' stays in" in settled.notes[-1]


def test_a_better_protocol_is_used_only_where_it_can_say_something() -> None:
    both = candidates()
    done = [t for c in both for t in sites(c, "27Al")] + sites(both[0], "31P")
    settled = decide(study("balanced"), measured(), both, done, references_of)
    assert settled.protocol == "fast"
    assert settled.todo == ()
    assert any(note.startswith("expected to be learnt from balanced") for note in settled.notes)
    # twins in aluminium and phosphorus within the error of DFT: the better protocol may part them
    near = {"quartz-like": {"Al": 44.5, "P": -24.5}, "cristobalite-like": {"Al": 50.0, "P": -27.5}}
    done = [t for c in both for isotope in ("27Al", "31P") for t in sites(c, isotope, shifts=near)]
    open_case = decide(study("balanced"), measured(), both, done, references_of)
    assert {c.name for c in open_case.alive} == set(CRYSTALS)
    assert open_case.stage is not None
    assert open_case.stage.protocol == "balanced"


def test_odds_of_something_unlisted_against_a_living_candidate_stay() -> None:
    # with all four: 0.2 against 0.8 / 4 each; with two alive each still faces the same odds
    none = scaled_none_prior(0.2, 4, 2)
    assert none / ((1.0 - none) / 2) == pytest.approx(0.2 / (0.8 / 4))
    assert scaled_none_prior(0.2, 4, 4) == pytest.approx(0.2)
