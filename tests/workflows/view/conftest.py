"""A result with a spectrum and a peak list whose tensors are invented, and a page that serves it."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
import uvicorn
from surfshift.analysis.lines import line
from surfshift.analysis.vocabulary import (
    Assignment,
    FittedCurve,
    Peak,
    PeakList,
    Population,
    PredictedSite,
    Spectrum,
    StudyResult,
    SubsetEvidence,
    Verdict,
)
from surfshift.structures.enumeration import bulk_candidate
from surfshift.structures.vocabulary import Region
from surfshift.workflows.view.server import Source, make_app, open_socket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-quic", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]

HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
TOKEN = "the-right-token"
WIDTH_PPM = 3.0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


def make_result() -> StudyResult:
    """Two phases of AlPO4; the spectrum is 70 % of one and 30 % of the other, broadened by 3 ppm."""
    names = {"AlPO4_berlinite": (-25.0, 0.7), "AlPO4_cristobalite": (-40.0, 0.3)}
    candidates, sites = [], []
    for name, (shift, _) in names.items():
        made = bulk_candidate(name)
        candidate = made.model_copy(update={"name": f"{made.name} {HOSTILE}"})
        candidates.append(candidate)
        atoms = tuple(k for k, element in enumerate(candidate.structure.elements) if element == "P")
        sites.append(
            PredictedSite(
                candidate_id=candidate.id,
                candidate_name=candidate.name,
                isotope="31P",
                atom_indices=atoms,
                region=Region.BULK,
                sigma_iso_ppm=300.0,
                delta_iso_ppm=shift,
                delta_error_ppm=1.0,
                zeta_csa_ppm=0.0,
                eta_csa=0.0,
                cq_mhz=0.0,
                cq_error_mhz=0.0,
                eta_q=0.0,
            )
        )
    axis = np.linspace(-80.0, 10.0, 400)
    parts = {
        site.candidate_id: share * line(site, axis, 9.4, 10000.0, WIDTH_PPM)
        for site, (_, share) in zip(sites, names.values(), strict=True)
    }
    total = np.sum(list(parts.values()), axis=0)
    spectrum = Spectrum(
        name=f"powder {HOSTILE}",
        isotope="31P",
        field_tesla=9.4,
        mas_rate_hz=10000.0,
        axis_ppm=tuple(axis.tolist()),
        intensity=tuple(total.tolist()),
        noise=0.001,
    )
    peaks = PeakList(
        name="list",
        isotope="31P",
        field_tesla=9.4,
        peaks=(Peak(label=HOSTILE, delta_iso_ppm=-25.0, delta_error_ppm=1.0),),
    )
    curve = FittedCurve(
        measurement=spectrum.name,
        total=tuple(total.tolist()),
        baseline=(0.0,) * len(axis),
        parts={key: tuple(part.tolist()) for key, part in parts.items()},
    )
    populations = tuple(
        Population(candidate_id=c.id, candidate_name=c.name, mean=share, low=share, high=share, probability_present=1.0)
        for c, (_, share) in zip(candidates, names.values(), strict=True)
    )
    ids = tuple(c.id for c in candidates)
    assignment = Assignment(
        verdict=Verdict.IDENTIFIED,
        statement=f"both are identified {HOSTILE}",
        members=ids,
        probability=1.0,
        populations=populations,
        subsets=(SubsetEvidence(candidate_names=ids, log_evidence=0.0, probability=1.0),),
        attributions=(),
        unexplained=(),
        curves=(curve,),
        fit_probability=0.5,
        warnings=(f"a warning {HOSTILE}",),
    )
    return StudyResult(
        name=f"study {HOSTILE}",
        relaxations=(),
        tensors={},
        references=(),
        sites=tuple(sites),
        measurements=(spectrum, peaks),
        assignment=assignment,
        provenance={},
        candidates=tuple(candidates),
    )


@dataclass(frozen=True)
class Page:
    """A page that is being served."""

    port: int

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return f"{self.base}/?token={TOKEN}"


@pytest.fixture(scope="session")
def result() -> StudyResult:
    return make_result()


@pytest.fixture(scope="session")
def page(result: StudyResult, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page served from a real socket on a free port."""
    folder: Path = tmp_path_factory.mktemp("page")
    (folder / "result.json").write_text(result.model_dump_json(), encoding="utf-8")
    (folder / "screening.csv").write_text(
        f"electrolyte,coating,electrode,reduction_v\nLATP,{HOSTILE},Li,1.25\nLATP,LiF,Li,0.1\n", encoding="utf-8"
    )
    source = Source(name=result.name, report=folder, coatings=folder)
    with open_socket(0) as listening:
        port = int(listening.getsockname()[1])
        config = uvicorn.Config(
            make_app(source, TOKEN, port), log_level="warning", access_log=False, server_header=False, lifespan="off"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        yield Page(port)
        server.should_exit = True
        thread.join(20)
