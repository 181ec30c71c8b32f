"""The pages that are written to be shared, in a real browser: accessible, within the window, used by the keyboard."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest
from surfshift.analysis.report import write_report
from surfshift.workflows.cli_coatings import run_screening

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser
    from surfshift.analysis.vocabulary import StudyResult

KINDS = ("study", "coatings")

pytestmark = pytest.mark.usefixtures("browser")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, result: StudyResult) -> dict[str, Path]:
    """The report of a study, which is that of a match too, and the page of a screening."""
    from surfshift.analysis.coatings.screening import Settings

    folder = tmp_path_factory.mktemp("pages")
    done = run_screening(
        ["LTP"],
        ["Li"],
        file=None,
        named=["AlPO4", "Li3PO4"],
        level="sevennet",
        out=folder / "screening",
        workers=1,
        settings=Settings(n_samples=8),
        say=lambda _: None,
        crystals=False,
        libraries=False,
    )
    return {"study": write_report(result, folder / "report"), "coatings": done.written[0]}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("kind", KINDS)
def test_a_report_is_accessible_and_fits(
    browser: Browser, written: dict[str, Path], kind: str, width: int, scheme: Any
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_default_timeout(120_000)
    tab = context.new_page()
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("dialog", lambda dialog: (problems.append("a script ran"), dialog.dismiss()))
    tab.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else problems.append(r.url))
    tab.goto(written[kind].as_uri())
    tab.wait_for_load_state()
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.evaluate(resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    found = tab.evaluate("axe.run(document)")
    told = [(rule["id"], [node["html"][:200] for node in rule["nodes"]]) for rule in found["violations"]]
    assert told == []
    assert "color-contrast" in {rule["id"] for rule in found["passes"]}
    # the background is that of the scheme that was asked for
    red, green, blue = map(int, tab.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)")[:3])
    assert (red + green + blue > 600) == (scheme == "light")
    assert problems == []
    context.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_can_be_used_by_the_keyboard(browser: Browser, written: dict[str, Path], kind: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(120_000)
    tab = context.new_page()
    tab.goto(written[kind].as_uri())
    tab.wait_for_load_state()
    visited: list[str] = []
    for _ in range(60):
        tab.keyboard.press("Tab")
        visited.append(
            tab.evaluate("document.activeElement.tagName + ' ' + document.activeElement.innerText.slice(0, 20)")
        )
        outline = tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        if visited[-1].startswith(("A ", "BUTTON", "SELECT", "SUMMARY")):
            assert outline != "none", f"{visited[-1]} does not show that it has the focus"
    reached = {name.split(" ")[0] for name in visited}
    assert "A" in reached
    assert {"BUTTON", "SELECT", "INPUT"} & reached
    # a heading of a column sorts when Enter is pressed on it
    button = tab.locator("th button").first
    button.focus()
    tab.keyboard.press("Enter")
    assert button.evaluate("(b) => b.closest('th').getAttribute('aria-sort')") in {"ascending", "descending"}
    context.close()
