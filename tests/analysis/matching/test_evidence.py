"""The evidence of spectra against nested sampling; more cases are in benchmarks/evidence.py."""

import importlib.util
import warnings
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def evidence():
    pytest.importorskip("dynesty")
    path = Path(__file__).resolve().parents[3] / "benchmarks/evidence.py"
    spec = importlib.util.spec_from_file_location("evidence", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_evidence_difference_of_a_mixture_and_its_main_part(evidence):
    problem = evidence.small_problem(0, share=0.95)
    ours = [problem.fit(members).log_evidence for members in ((0, 1), (0,))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = [evidence.nested(problem, members, live=100) for members in ((0, 1), (0,))]
    error = (theirs[0][1] ** 2 + theirs[1][1] ** 2) ** 0.5
    assert ours[0] - ours[1] == pytest.approx(theirs[0][0] - theirs[1][0], abs=0.5 + 2.0 * error)
