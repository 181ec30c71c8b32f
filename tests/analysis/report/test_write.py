"""The written report: whole, self-contained, escaped, and true to the model."""

from __future__ import annotations

import itertools
import json
import os
import re
from hashlib import sha256
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from surfshift.analysis.report import ReportWriteError, page, write, write_report
from surfshift.analysis.report.interactive import coupling_figure, lines_figure, spectrum_figure
from surfshift.analysis.report.view import View
from surfshift.analysis.vocabulary import Assignment, StudyResult

if TYPE_CHECKING:
    from pathlib import Path

    from surfshift.structures.vocabulary import Candidate

SECTIONS = ["verdict", "populations", "lines", "candidates", "sites", "attribution", "references", "provenance"]
EVIL = "<script>alert(1)</script>$x$ & \"quoted\" 'too'"


class Page(HTMLParser):
    """Elements of a page: start tags with attributes, text of scripts, visible text, tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[tuple[dict[str, str], str]] = []
        self.text = ""
        self.cells: list[tuple[dict[str, str], str]] = []
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.append((tag, values))
        if tag in {"script", "style"}:
            self._open = tag
            self.scripts.append((values, ""))
        if tag in {"td", "th"}:
            self.cells.append((values, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == self._open:
            self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open:
            values, text = self.scripts[-1]
            self.scripts[-1] = (values, text + data)
            return
        self.text += data
        if self.cells:
            values, text = self.cells[-1]
            self.cells[-1] = (values, text + data)

    def sections(self) -> list[str]:
        return [values["id"] for tag, values in self.tags if tag == "section"]


def small(result: StudyResult, n_candidates: int = 2) -> StudyResult:
    """The first candidates only, which draws quicker."""
    kept = result.relaxations[:n_candidates]
    ids = {r.candidate.id for r in kept}
    return result.model_copy(
        update={
            "relaxations": kept,
            "tensors": {key: value for key, value in result.tensors.items() if key in ids},
            "sites": tuple(site for site in result.sites if site.candidate_id in ids),
            "references": result.references[:1],
        }
    )


def rename(result: StudyResult, old: str, new: str) -> StudyResult:
    """The same result with a candidate's name changed wherever it stands."""
    text = result.model_dump_json().replace(json.dumps(old, ensure_ascii=False), json.dumps(new))
    return StudyResult.model_validate_json(text)


@pytest.fixture(scope="module")
def folder(result: StudyResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    assert write_report(result, folder) == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def parsed(html: str) -> Page:
    return Page(html)


def test_page_loads_nothing_from_outside(html: str, parsed: Page) -> None:
    for tag, values in parsed.tags:
        for name in ("src", "srcset", "data", "poster", "action"):
            assert values.get(name, "data:").startswith("data:"), (tag, name)
        assert tag not in {"link", "iframe", "object", "embed", "base"}
        if tag == "a":
            assert re.fullmatch(r"#[\w-]+|[\w.-]+\.(png|json)", values["href"])
    style = next(text for values, text in parsed.scripts if not values)
    assert "url(" not in style
    assert "@import" not in style
    assert len(html.encode()) < 6_000_000


def test_policy_lets_exactly_the_own_scripts_run(parsed: Page) -> None:
    from base64 import b64encode

    policy = next(v["content"] for _, v in parsed.tags if v.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    running = [text for values, text in parsed.scripts[1:] if "type" not in values]
    hashes = {f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in running}
    assert len(running) == 2
    assert set(re.findall(r"'sha256-[^']+'", policy)) == hashes


def test_sections_stand_in_order_and_every_link_has_its_target(parsed: Page) -> None:
    assert parsed.sections() == SECTIONS
    ids = [values["id"] for _, values in parsed.tags if "id" in values]
    assert len(ids) == len(set(ids))
    for tag, values in parsed.tags:
        if tag == "a" and values["href"].startswith("#"):
            assert values["href"][1:] in ids
        if "aria-labelledby" in values:
            assert values["aria-labelledby"] in ids


def test_page_can_be_read_without_seeing_it(parsed: Page) -> None:
    tags = [tag for tag, _ in parsed.tags]
    assert tags.count("table") == tags.count("caption") > 5
    assert all(values.get("alt") for tag, values in parsed.tags if tag == "img")
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_verdict_comes_first_with_its_numbers(result: StudyResult, parsed: Page) -> None:
    assignment = result.assignment
    assert assignment is not None
    start = parsed.text[: parsed.text.index("Posterior populations")]
    for expected in (assignment.statement, "93 %", "42 %", *assignment.members, *assignment.warnings):
        assert expected in start


def test_table_of_sites_has_the_numbers_of_the_model(result: StudyResult, html: str) -> None:
    table = Page(
        html[html.index('<table id="site-table"') : html.index("</table>", html.index('<table id="site-table"'))]
    )
    width = len(page.SITE_COLUMNS)
    rows = [table.cells[k : k + width] for k in range(width, len(table.cells), width)]
    assert len(rows) == len(result.sites)
    for row, site in zip(rows, result.sites, strict=True):
        texts = [text.strip() for _, text in row]
        assert texts[:2] == [site.candidate_name, site.isotope]
        assert texts[3] == site.region.value
        expected = {
            4: site.multiplicity,
            5: site.sigma_iso_ppm,
            6: site.delta_iso_ppm,
            9: site.zeta_csa_ppm,
            10: site.eta_csa,
        }
        if site.cq_mhz:
            expected |= {7: site.cq_mhz, 8: site.eta_q}
            assert texts[7] == f"{site.cq_mhz:.2f} ± {site.cq_error_mhz:.2f}".replace("-", "−")
        if site.distance_to_h_ang is not None:
            expected[11] = site.distance_to_h_ang
        for column, value in expected.items():
            assert float(row[column][0]["data-value"]) == value
        assert texts[6] == f"{site.delta_iso_ppm:.2f} ± {site.delta_error_ppm:.2f}".replace("-", "−")


def test_result_file_gives_the_result_back(result: StudyResult, folder: Path, parsed: Page) -> None:
    content = (folder / "result.json").read_bytes()
    assert StudyResult.model_validate_json(content) == result
    assert sha256(content).hexdigest() in parsed.text


def test_figures_stand_beside_the_page_and_are_linked(folder: Path, parsed: Page) -> None:
    linked = {v["href"] for tag, v in parsed.tags if tag == "a" and v["href"].endswith(".png")}
    beside = {path.name for path in folder.glob("*.png")}
    assert linked == beside
    rest = {path.name for path in folder.iterdir()} - beside
    assert {name for name in rest if not name.startswith("table-")} == {"report.html", "result.json", "paragraph.txt"}
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in beside)


def test_data_of_the_figures_are_valid_plotly_figures(result: StudyResult) -> None:
    import plotly.graph_objects

    view = View(result)
    specs = [spectrum_figure(spectrum, curve, view) for spectrum, curve in view.spectra]
    specs += [lines_figure(chart) for chart in view.line_charts] + [coupling_figure(c) for c in view.coupling_charts]
    for spec in specs:
        text = re.sub(r"@(text|paper|faint|band)", "#123456", json.dumps(spec, allow_nan=False))
        figure = plotly.graph_objects.Figure(json.loads(text))
        assert figure.layout.xaxis.title.text.endswith("/ ppm")
        if figure.layout.xaxis.range is not None:
            assert figure.layout.xaxis.range[0] > figure.layout.xaxis.range[1]
        else:
            assert figure.layout.xaxis.autorange == "reversed"


def test_fit_is_drawn_as_it_was_given(result: StudyResult) -> None:
    view = View(result)
    ((spectrum, curve),) = view.spectra
    assert curve is not None
    traces = {trace.get("name"): trace for trace in spectrum_figure(spectrum, curve, view)["data"]}
    scale = max(abs(y) for y in spectrum.intensity)
    assert traces["fit"]["y"] == pytest.approx([y / scale for y in curve.total], rel=1e-3, abs=1e-9)
    for name, part in curve.parts.items():
        assert traces[name]["y"] == pytest.approx([y / scale for y in part], rel=1e-3, abs=1e-9)
        assert traces[name]["line"]["color"] == view.look(name).colour


def test_no_text_of_the_user_becomes_markup(result: StudyResult, tmp_path: Path) -> None:
    renamed = small(rename(result, result.relaxations[1].candidate.name, EVIL), 2)
    assert renamed.relaxations[1].candidate.name == EVIL
    notes: Candidate = renamed.relaxations[1].candidate.model_copy(update={"notes": (EVIL,)})
    relaxed = renamed.relaxations[1].model_copy(update={"candidate": notes})
    evil = renamed.model_copy(
        update={
            "name": EVIL,
            "relaxations": (renamed.relaxations[0], relaxed),
            "provenance": {EVIL: EVIL},
            "failures": (EVIL,),
        }
    )
    html = write_report(evil, tmp_path).read_text(encoding="utf-8")
    parsed = Page(html)
    assert html.count("<script>") == 2
    assert "<script>alert" not in html
    assert parsed.text.count(EVIL) > 5
    for values, text in parsed.scripts:
        if values.get("type") == "application/json":
            assert "<script" not in json.dumps(json.loads(text))
    assert StudyResult.model_validate_json((tmp_path / "result.json").read_bytes()) == evil


@pytest.mark.parametrize("measured", [True, False])
def test_without_an_assignment_the_report_says_so(result: StudyResult, tmp_path: Path, measured: bool) -> None:
    measurements = result.measurements if measured else ()
    bare = small(result).model_copy(update={"assignment": None, "measurements": measurements})
    parsed = Page(write_report(bare, tmp_path).read_text(encoding="utf-8"))
    assert parsed.sections() == [name for name in SECTIONS if name != "populations"]
    reason = "no assignment was made" if measured else "this study has no measurements"
    assert reason in parsed.text
    assert bare.relaxations[1].candidate.name in parsed.text


def test_a_study_in_which_everything_failed_has_a_report(tmp_path: Path) -> None:
    failed = StudyResult(
        name="all failed",
        relaxations=(),
        tensors={},
        references=(),
        sites=(),
        measurements=(),
        assignment=None,
        provenance={},
        failures=("relaxation of slab A: no convergence", "tensors of slab B: gap below 1 eV"),
    )
    path = write_report(failed, tmp_path)
    parsed = Page(path.read_text(encoding="utf-8"))
    assert all(text in parsed.text for text in failed.failures)
    assert list(tmp_path.glob("*.png")) == []
    assert path.stat().st_size < 200_000


def test_figures_of_an_earlier_report_do_not_stay(result: StudyResult, tmp_path: Path) -> None:
    (tmp_path / "report-populations.png").write_bytes(b"old")
    (tmp_path / "my-own.png").write_bytes(b"mine")
    bare = small(result, 1).model_copy(update={"assignment": None, "measurements": ()})
    write_report(bare, tmp_path)
    assert not (tmp_path / "report-populations.png").exists()
    assert (tmp_path / "my-own.png").read_bytes() == b"mine"


def test_a_full_disk_leaves_the_earlier_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = {"a.png": b"old a", "report.html": b"old page"}
    write.write_files(tmp_path, old)
    real, calls = os.fsync, []

    def full_disk(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(ReportWriteError, match="No space left on device"):
        write.write_files(tmp_path, {"a.png": b"new a", "report.html": b"new page"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == old


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ReportWriteError, match="file"):
        write.write_files(tmp_path / "file" / "report", {"report.html": b""})


def test_names_of_files_never_collide(tmp_path: Path) -> None:
    names = write._file_names(dict.fromkeys(["candidate:a b", "candidate:a-b", "candidate:A.b"]))
    assert len({name.lower() for name in names.values()}) == 3
    assert all(re.fullmatch(r"report-[A-Za-z0-9-]+\.png", name) for name in names.values())


def test_numbers_in_words(result: StudyResult) -> None:
    assert page.percent(0.0) == "0 %"
    assert page.percent(1.0) == "100 %"
    assert page.percent(0.9999) == "> 99.9 %"
    assert page.percent(0.0001) == "< 0.1 %"
    assert page.percent(0.934) == "93 %"
    assert page.percent(0.996) == "99.6 %"
    assert page.fixed(-1.005, 1) == "−1.0"
    assert page.fixed(2.0, 2, sign=True) == "+2.00"
    assert page.duration(90) == "90 s"
    assert page.duration(7200) == "2.0 h"
    assert isinstance(result.assignment, Assignment)
    assert len({page.fit_words(p) for p in (0.5, 0.03, 0.001)}) == 3
