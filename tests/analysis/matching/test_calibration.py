"""A short run of benchmarks/matching_calibration.py: the matching must be right in most simulated samples."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def calibration():
    path = Path(__file__).resolve().parents[3] / "benchmarks/matching_calibration.py"
    spec = importlib.util.spec_from_file_location("matching_calibration", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_truth_in_the_list_is_identified(calibration):
    counts, _, _ = calibration.run("single", 10, seed=7)
    assert counts["identified right"] >= 8
    assert counts["identified wrong"] <= 1


def test_truth_left_out_is_seldom_replaced(calibration):
    counts, _, _ = calibration.run("left out", 10, seed=7)
    assert counts["none"] >= 6
    assert counts["identified wrong"] <= 3


def test_twins_are_not_told_apart(calibration):
    counts, _, _ = calibration.run("twin", 4, seed=7)
    assert counts["one of, with truth"] >= 3


def test_population_intervals_hold_the_truth(calibration):
    counts, covered, _ = calibration.run("surface", 6, seed=7)
    assert counts["identified right"] + counts["one of, with truth"] >= 5
    assert sum(covered) >= 0.8 * len(covered)
