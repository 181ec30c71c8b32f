"""Expected information gain against an exact integral, and the verdict's sensitivity."""

import numpy as np
import pytest
from surfshift.analysis.matching import MatchSettings, expected_gains, match, sensitivities, usual_experiments
from surfshift.analysis.vocabulary import Experiment, ExperimentGain, Peak, PeakList, Sensitivity


def one_line(samples, name, delta, error=0.1):
    return [samples.site(name, "31P", 0, delta).model_copy(update={"delta_error_ppm": error})]


def frame(error, name="31P"):
    peak = Peak(delta_iso_ppm=0.0, delta_error_ppm=error)
    return PeakList(name=name, isotope="31P", field_tesla=9.4, mas_rate_hz=12500.0, peaks=(peak,))


@pytest.fixture(scope="module")
def sharp(samples):
    """A 31P reference that is hardly uncertain."""
    tiny = ((1e-12, 0.0), (0.0, 1e-6))
    return {"31P": samples.REFERENCES["31P"].model_copy(update={"covariance": tiny})}


def exact_gain(distance, sigma, listed=0.9):
    """Mutual information in bits of two equally likely normals at a distance, seen with probability ``listed``."""
    x = np.linspace(-10.0 * sigma, distance + 10.0 * sigma, 20001)
    a, b = (np.exp(-0.5 * ((x - m) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi)) for m in (0.0, distance))
    mean = 0.5 * (a + b)
    terms = sum(0.5 * p * np.log2(np.clip(p, 1e-300, None) / np.clip(mean, 1e-300, None)) for p in (a, b))
    return listed * float(terms.sum() * (x[1] - x[0]))


@pytest.mark.parametrize("distance", [1.0, 3.0])
def test_gain_equals_the_mutual_information_of_two_lines(samples, sharp, distance):
    candidates = {"a": one_line(samples, "a", -20.0), "b": one_line(samples, "b", -20.0 + distance)}
    (found,) = expected_gains({("a",): 0.5, ("b",): 0.5}, candidates, [frame(1.0)], sharp, draws=600)
    assert found.entropy_bits == pytest.approx(1.0)
    # 600 draws per explanation: the mean of an entropy of at most one bit is known to about 0.01
    assert found.gain_bits == pytest.approx(exact_gain(distance, np.hypot(1.0, 0.1)), abs=0.04)
    assert ExperimentGain.model_validate_json(found.model_dump_json()) == found


def test_experiments_that_see_the_difference_come_first(samples):
    near = [samples.site("a", "27Al", 0, 45.0, 4.0), samples.site("a", "31P", 1, -20.0)]
    other = [samples.site("b", "27Al", 0, 45.0, 4.0), samples.site("b", "31P", 1, -5.0)]
    found = expected_gains(
        {("a",): 0.5, ("b",): 0.5},
        {"a": near, "b": other},
        usual_experiments(["27Al", "31P"], [9.4]),
        samples.REFERENCES,
        draws=20,
    )
    assert found[0].isotope == "31P"
    aluminium = [gain for gain in found if gain.isotope == "27Al"]
    # equal 27Al lines cannot say anything
    assert all(abs(gain.gain_bits) < 1e-9 for gain in aluminium)
    assert {gain.experiment for gain in found} == {
        Experiment.ONE_PULSE,
        Experiment.CP,
        Experiment.TRAPDOR,
        Experiment.MQMAS,
    }


def test_explanations_must_be_given(samples):
    with pytest.raises(ValueError, match="no explanation"):
        expected_gains({}, {}, [frame(1.0)], samples.REFERENCES)
    with pytest.raises(ValueError, match="no reference for 31P"):
        expected_gains({("a",): 1.0}, {"a": one_line(samples, "a", 0.0)}, [frame(1.0)], {})


def test_sensitivity_names_the_measurement_that_decides(samples):
    a = [samples.site("a", "27Al", 0, 45.0, 4.0), samples.site("a", "31P", 1, -25.0)]
    b = [samples.site("b", "27Al", 0, 45.0, 4.0), samples.site("b", "31P", 1, -8.0)]
    peaks = {"27Al": (45.3, {"cq_mhz": 4.1, "cq_error_mhz": 0.3}), "31P": (-24.6, {})}
    lists = [
        PeakList(
            name=isotope,
            isotope=isotope,
            field_tesla=9.4,
            mas_rate_hz=12500.0,
            peaks=(Peak(delta_iso_ppm=shift, delta_error_ppm=1.0, **extra),),
        )
        for isotope, (shift, extra) in peaks.items()
    ]
    library, settings = {"a": a, "b": b}, MatchSettings(max_members=1)
    whole = match(library, lists, samples.REFERENCES, settings)
    rows = {row.change: row for row in sensitivities(library, lists, samples.REFERENCES, settings)}
    assert len(rows) == 2 + 2 * 2
    assert whole.members == ("a",)
    assert rows["without 27Al"].members == ("a",)
    assert set(rows["without 31P"].members) != {"a"}
    assert all(Sensitivity.model_validate_json(row.model_dump_json()) == row for row in rows.values())
