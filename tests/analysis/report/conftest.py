"""A study's result built from real structures, with invented tensors: input for drawing, not physics."""

from __future__ import annotations

import numpy as np
import pytest
from surfshift.analysis.constants import default_isotope, larmor_mhz
from surfshift.analysis.prediction import predict_sites
from surfshift.analysis.tensors import second_order_shift_ppm
from surfshift.analysis.vocabulary import (
    Assignment,
    Attribution,
    Experiment,
    FittedCurve,
    Method,
    Peak,
    PeakList,
    Population,
    PredictedSite,
    Reference,
    ReferenceCompound,
    Relaxation,
    SiteTensors,
    Spectrum,
    StudyResult,
    SubsetEvidence,
    Unexplained,
    Verdict,
)
from surfshift.structures.enumeration import bulk_candidate, enumerate_surfaces
from surfshift.structures.library import build_crystal, load_crystal
from surfshift.structures.symmetry import distinct_sites
from surfshift.structures.vocabulary import Candidate, Grade, Region

METHOD = Method(
    engine="invented", engine_version="0", functional="none", protocol="test", protocol_hash="0123456789abcdef"
)
SHIELDING = {"Al": 521.0, "P": 336.0, "H": 27.0}
EFG_AU = {"Al": 0.118, "P": 0.0, "H": 0.0}
REGION_STEP = {Region.BULK: 0.0, Region.SUBSURFACE: 0.15, Region.SURFACE: 0.6, Region.ADSORBATE: 1.0}


def make_references() -> dict[str, Reference]:
    invented = {
        "27Al": (-1.0, 565.5, 4.0, [("compound A", 521.0), ("compound B", 551.0), ("compound C", 486.0)]),
        "31P": (-0.85, 261.1, 1.6, [("compound A", 336.0), ("compound B", 296.0)]),
        "1H": (-1.0, 31.0, 0.6, [("compound A", 27.0), ("compound D", 31.0), ("compound E", 16.0), ("F", 16.4)]),
    }
    references = {}
    for isotope, (slope, intercept, error, compounds) in invented.items():
        sigmas = np.array([sigma for _, sigma in compounds])
        design = np.stack([sigmas, np.ones_like(sigmas)], axis=1)
        (a, b), (c, d) = (error**2 * np.linalg.inv(design.T @ design)).tolist()
        references[isotope] = Reference(
            isotope=isotope,
            method=METHOD,
            slope=slope,
            intercept_ppm=intercept,
            covariance=((a, b), (c, d)),
            sigma_mean_ppm=float(sigmas.mean()),
            site_error_ppm=error,
            compounds=tuple(
                ReferenceCompound(
                    name=name,
                    sigma_iso_ppm=sigma,
                    delta_iso_ppm=intercept + slope * sigma + (-1) ** k * 0.7 * error,
                    delta_error_ppm=0.4,
                    source="invented for the tests",
                    grade=Grade.MODEL,
                )
                for k, (name, sigma) in enumerate(compounds)
            ),
        )
    return references


def make_tensors(candidate: Candidate, seed: int) -> tuple[SiteTensors, ...]:
    random = np.random.default_rng(seed)
    sites = []
    for orbit in distinct_sites(candidate.structure, elements={"Al", "P", "H"}):
        step = REGION_STEP[candidate.regions[orbit.atom_indices[0]]]
        spread = 0.0 if candidate.kind == "bulk" else step
        sigma = SHIELDING[orbit.element] + spread * {"Al": 14.0, "P": -8.0, "H": 1.5}[orbit.element]
        sigma += random.normal() * (0.3 + 2.0 * spread)
        anisotropy = np.diag([-12.0, 2.0, 10.0]) * (0.5 + spread)
        efg = EFG_AU[orbit.element] * (1 + 1.2 * spread * random.random()) * np.diag([-0.3, -0.7, 1.0])
        sites.append(
            SiteTensors(
                structure_id=candidate.structure.content_id,
                element=orbit.element,
                atom_indices=orbit.atom_indices,
                shielding_ppm=orbit.expand(sigma * np.eye(3) + anisotropy),
                efg_au=orbit.expand(efg),
                method=METHOD,
                checks={"gap_ev": 6.2, "n_electrons": 204.0},
                cpu_seconds=40.0 + 20.0 * random.random(),
            )
        )
    return tuple(sites)


def make_candidates() -> list[Candidate]:
    bulk = build_crystal(load_crystal("AlPO4_berlinite"))
    found = [bulk_candidate("AlPO4_berlinite")]
    for miller in [(0, 0, 1), (1, 0, 1)]:
        found += enumerate_surfaces(bulk, "AlPO4_berlinite", miller, thickness_ang=9.0, hydroxylation=(0.0, 1.0))
    return found[:7]


def make_spectrum(sites: list[PredictedSite], members: dict[str, float]) -> tuple[Spectrum, FittedCurve]:
    axis = np.linspace(-45.0, -12.0, 1024)
    parts = {}
    for name, share in members.items():
        part = np.zeros_like(axis)
        for site in sites:
            if site.candidate_name == name and site.isotope == "31P":
                part += site.multiplicity * np.exp(-0.5 * ((axis - site.delta_iso_ppm) / 1.1) ** 2)
        parts[name] = 100.0 * share * part / part.sum()
    total = np.sum(list(parts.values()), axis=0)
    noise = 0.01 * float(total.max())
    data = total + np.random.default_rng(1).normal(0.0, noise, axis.size)
    spectrum = Spectrum(
        name="AlPO4 powder, 31P one-pulse",
        isotope="31P",
        field_tesla=9.4,
        mas_rate_hz=12500.0,
        axis_ppm=tuple(axis.tolist()),
        intensity=tuple(data.tolist()),
        noise=noise,
        source="simulated",
    )
    curve = FittedCurve(
        measurement=spectrum.name,
        total=tuple(total.tolist()),
        baseline=tuple(np.zeros_like(axis).tolist()),
        parts={name: tuple(part.tolist()) for name, part in parts.items()},
    )
    return spectrum, curve


def make_peaks(sites: list[PredictedSite]) -> tuple[PeakList, PeakList]:
    aluminium = [site for site in sites if site.isotope == "27Al"]
    inner, outer = aluminium[0], max(aluminium, key=lambda site: abs(site.cq_mhz))
    nucleus = default_isotope("Al")
    shift = second_order_shift_ppm(nucleus, cq_mhz=outer.cq_mhz, eta=outer.eta_q, larmor_mhz=larmor_mhz(nucleus, 9.4))
    al_list = PeakList(
        name="27Al MAS and TRAPDOR",
        isotope="27Al",
        field_tesla=9.4,
        mas_rate_hz=12500.0,
        peaks=(
            Peak(
                label="Al(1)",
                delta_iso_ppm=inner.delta_iso_ppm + 0.4,
                delta_error_ppm=0.5,
                cq_mhz=abs(inner.cq_mhz) + 0.1,
                cq_error_mhz=0.1,
                area=0.9,
                area_error=0.1,
            ),
            Peak(label="TRAPDOR", cq_mhz=abs(outer.cq_mhz) + 0.3, cq_error_mhz=0.9),
            Peak(label="shoulder", position_ppm=outer.delta_iso_ppm + shift, position_error_ppm=1.5),
        ),
        source="simulated",
    )
    protons = sorted({round(site.delta_iso_ppm, 2) for site in sites if site.isotope == "1H"})
    h_list = PeakList(
        name="1H echo",
        isotope="1H",
        field_tesla=9.4,
        mas_rate_hz=25000.0,
        experiment=Experiment.ECHO,
        peaks=tuple(
            Peak(label=label, delta_iso_ppm=protons[0] + step, delta_error_ppm=0.15)
            for label, step in [("Al-OH", 0.1), ("P-OH", 0.35), ("H-bonded", 3.0)]
        ),
        source="simulated",
    )
    return al_list, h_list


def make_result() -> StudyResult:
    candidates = make_candidates()
    references = make_references()
    relaxations, tensors, sites = [], {}, []
    for number, candidate in enumerate(candidates):
        tensors[candidate.id] = make_tensors(candidate, number)
        isotopes = ["27Al", "31P"] + (["1H"] if "H" in candidate.structure.elements else [])
        sites += predict_sites(candidate, tensors[candidate.id], references, isotopes)
        relaxations.append(
            Relaxation(
                start_id=candidate.id,
                candidate=candidate,
                energy_ev=-7.4 * len(candidate.structure) - 0.11 * number,
                max_force_ev_per_ang=0.018,
                n_steps=31 + number,
                is_converged=True,
                model="7net-l3i5",
            )
        )
    names = [candidate.name for candidate in candidates]
    wet = next(r.candidate.name for r in relaxations if "H" in r.candidate.structure.elements)
    spectrum, curve = make_spectrum(sites, {names[0]: 0.62, wet: 0.38})
    peaks = make_peaks([site for site in sites if site.candidate_name == wet])
    shares = {names[0]: (0.6, 0.5, 0.69, 0.999), wet: (0.36, 0.27, 0.46, 0.94), "other": (0.02, 0.0, 0.05, 0.2)}
    shares |= {name: (0.01, 0.0, 0.03, 0.06) for name in names if name not in shares}
    ids = {candidate.name: candidate.id for candidate in candidates}
    aluminium = next(site for site in sites if site.isotope == "27Al" and site.candidate_name == names[0])
    assignment = Assignment(
        verdict=Verdict.IDENTIFIED,
        statement="The sample has the hydroxylated (001) surface of berlinite on a berlinite core.",
        members=(names[0], wet),
        probability=0.934,
        populations=tuple(
            Population(
                candidate_id=ids.get(name, "other"),
                candidate_name=name,
                mean=mean,
                low=low,
                high=high,
                probability_present=present,
            )
            for name, (mean, low, high, present) in shares.items()
        ),
        subsets=(
            SubsetEvidence(candidate_names=(names[0], wet), log_evidence=-41.2, probability=0.934),
            SubsetEvidence(candidate_names=(names[0],), log_evidence=-44.5, probability=0.05),
            SubsetEvidence(candidate_names=(), log_evidence=-45.8, probability=0.016),
        ),
        attributions=(
            Attribution(
                measurement=peaks[0].name,
                peak_label="Al(1)",
                candidate_name=names[0],
                atom_indices=aluminium.atom_indices,
                probability=0.97,
                residual_sigmas=-0.31,
            ),
            Attribution(
                measurement=peaks[1].name,
                peak_label="H-bonded",
                candidate_name=wet,
                atom_indices=(3, 4),
                probability=0.55,
                residual_sigmas=2.4,
            ),
        ),
        unexplained=(Unexplained(measurement=spectrum.name, where="-20 to -17 ppm", fraction=0.031),),
        curves=(curve,),
        offsets_ppm={"27Al": 0.83, "31P": -0.35},
        fit_probability=0.42,
        warnings=("The 31P reference rests on two compounds; its slope is uncertain.",),
    )
    return StudyResult(
        name="AlPO4 powder",
        relaxations=tuple(relaxations),
        tensors=tensors,
        references=tuple(references.values()),
        sites=tuple(sites),
        measurements=(spectrum, *peaks),
        assignment=assignment,
        provenance={"surfshift": "0.1.0", "python": "3.11.7", "study file SHA-256": "9f" * 32},
        failures=(),
    )


@pytest.fixture(scope="session")
def result() -> StudyResult:
    return make_result()
