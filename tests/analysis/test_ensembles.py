"""Sites of a glass as distributions: the numbers of a known ensemble come back."""

import numpy as np
import pytest
from surfshift.analysis.disorder import extended_czjzek_nodes, typical_coupling
from surfshift.analysis.ensembles import LEAST_ATOMS, TooFewSitesError, distributed_sites, united
from surfshift.analysis.vocabulary import PredictedSite
from surfshift.structures.vocabulary import Region

SIGMA, MEAN, SPREAD = 1.3, 56.0, 4.0


def ensemble(n: int, isotope: str = "27Al", environment: str = "AlO4", start: int = 0) -> list[PredictedSite]:
    rng = np.random.default_rng(1)
    cq, eta, _ = extended_czjzek_nodes(0.0, 0.0, SIGMA)
    chosen = rng.choice(len(cq), size=n)
    return [
        PredictedSite(
            candidate_id="glass",
            candidate_name="glass",
            isotope=isotope,
            atom_indices=(start + k,),
            region=Region.BULK,
            sigma_iso_ppm=540.0 - MEAN,
            delta_iso_ppm=MEAN + SPREAD * float(rng.normal()),
            delta_error_ppm=2.0,
            zeta_csa_ppm=0.0,
            eta_csa=0.0,
            cq_mhz=float(cq[i]) if isotope == "27Al" else 0.0,
            cq_error_mhz=0.3 if isotope == "27Al" else 0.0,
            eta_q=float(eta[i]) if isotope == "27Al" else 0.0,
            distance_to_h_ang=2.0 if k == 0 else 4.0,
            environment=environment,
        )
        for k, i in enumerate(chosen)
    ]


def test_sigma_shift_and_spread_come_back_from_many_sites() -> None:
    (site,) = distributed_sites(ensemble(400))
    assert site.is_disordered
    assert site.multiplicity == 400
    assert site.cq_mhz == pytest.approx(typical_coupling(SIGMA), rel=0.05)
    assert site.delta_iso_ppm == pytest.approx(MEAN, abs=3 * SPREAD / 20)
    assert site.width_ppm == pytest.approx(2.3548 * SPREAD, rel=0.1)
    # the error of DFT stays, sampling adds little
    assert site.delta_error_ppm == pytest.approx(np.hypot(2.0, SPREAD / 20), rel=0.02)
    assert site.distance_to_h_ang == pytest.approx(((2.0**-6 + 399 * 4.0**-6) / 400) ** (-1 / 6))


def test_environments_and_nuclei_stay_apart_and_few_atoms_stay_as_they_are() -> None:
    few = ensemble(LEAST_ATOMS - 1, environment="AlO5", start=100)
    found = distributed_sites([*ensemble(30), *few, *ensemble(20, "31P", "PO4", 200)])
    assert [s.environment for s in found] == ["AlO4", *["AlO5"] * (LEAST_ATOMS - 1), "PO4"]
    assert [s.is_disordered for s in found] == [True, *[False] * LEAST_ATOMS]
    phosphorus = found[-1]
    assert phosphorus.cq_mhz == 0.0
    assert phosphorus.width_ppm > 5.0
    assert sum(s.multiplicity for s in found) == 54
    with pytest.raises(TooFewSitesError, match="no environment has 5 atoms"):
        distributed_sites(few)


def test_snapshots_together_are_one_candidate_with_atoms_of_their_own() -> None:
    first = ensemble(6)
    second = [s.model_copy(update={"candidate_id": "other", "candidate_name": "glass-2"}) for s in ensemble(6)]
    together = united([*first, *second], "glass")
    assert {s.candidate_name for s in together} == {"glass"}
    assert len({s.candidate_id for s in together} | {"glass", "other"}) == 3
    assert [s.atom_indices for s in together] == [(k,) for k in range(12)]
    (site,) = distributed_sites(together)
    assert site.multiplicity == 12
    assert site.candidate_name == "glass"
