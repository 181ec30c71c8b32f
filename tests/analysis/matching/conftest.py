import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


def _load(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def samples():
    """Simulated samples of benchmarks/matching_samples.py."""
    return _load("matching_samples")


@pytest.fixture(scope="session")
def calibration(samples):
    """The benchmark over them."""
    _load("matching_yardsticks")
    return _load("matching_calibration")


@pytest.fixture(scope="session")
def reaching(samples):
    """The benchmark of how near mixtures come to a sample."""
    return _load("matching_reach")
