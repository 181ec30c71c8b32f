"""The page in a real browser: sliders move the model, hostile names stay text, keyboard and contrast are right."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser
    from playwright.sync_api import Page as Tab

    from conftest import Page


pytestmark = pytest.mark.usefixtures("browser")


def opened(browser: Browser, page: Page, *, width: int = 1280, scheme: str = "light", strict: bool = True) -> Tab:
    """The page, loaded; without ``strict`` a test may put a script of its own into it."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=not strict)
    context.set_default_timeout(120_000)
    tab = context.new_page()
    tab.problems = []  # type: ignore[attr-defined]
    tab.on("pageerror", lambda error: tab.problems.append(str(error)))  # type: ignore[attr-defined]
    tab.on("console", lambda m: tab.problems.append(m.text) if m.type == "error" else None)  # type: ignore[attr-defined]
    tab.on("dialog", lambda dialog: (tab.problems.append("a script ran"), dialog.dismiss()))  # type: ignore[attr-defined]
    tab.on("request", lambda r: None if r.url.startswith((page.base, "data:", "blob:")) else tab.problems.append(r.url))  # type: ignore[attr-defined]
    tab.goto(page.address)
    tab.wait_for_selector("body[data-ready]")
    return tab


def model(tab: Tab, chart: str = "chart-0") -> list[float]:
    """The dashed line of a chart."""
    return tab.evaluate(f"Array.from(document.getElementById('{chart}').data.find((t) => t.name === 'model').y)")


def other_model(tab: Tab, before: list[float]) -> list[float]:
    """The dashed line once it is another one; on a busy machine a frame may take seconds."""
    for _ in range(300):
        if (now := model(tab)) != before:
            return now
        tab.wait_for_timeout(100)
    raise AssertionError("the model did not move")


def test_sliders_move_the_model_at_once(browser: Browser, page: Page) -> None:
    tab = opened(browser, page)
    start = model(tab)
    slider = tab.locator("#populations input").first
    slider.focus()
    tab.keyboard.press("Home")  # to zero, by the keyboard
    moved = other_model(tab, start)
    assert max(moved) != max(start)
    peak, other = start.index(max(start)), moved.index(max(moved))
    assert moved[peak] < 0.01 * start[peak]
    assert abs(peak - other) > 40
    tab.locator("#reset").click()
    assert other_model(tab, moved) == start
    tab.locator("#broadening").focus()
    tab.keyboard.press("End")
    broad = other_model(tab, start)
    assert max(broad) < 0.6 * max(start)
    assert sum(broad) == pytest.approx(sum(start), rel=0.05)
    assert tab.problems == []  # type: ignore[attr-defined]
    tab.context.close()


def test_a_structure_can_be_chosen_and_turned_by_the_keyboard(browser: Browser, page: Page) -> None:
    tab = opened(browser, page)
    counts = "document.getElementById('scene').data.filter((t) => t.mode === 'markers').map((t) => t.x.length)"
    first = tab.evaluate(counts)
    tab.locator("#candidate").select_option(index=1)
    for _ in range(300):  # the page's policy allows no function made of a text, which Playwright's own waiting is
        if tab.evaluate(counts) != first:
            break
        tab.wait_for_timeout(100)
    assert tab.evaluate(counts) != first
    eye = "document.getElementById('scene').layout.scene.camera.eye.x"
    before = tab.evaluate(eye)
    tab.locator("[data-turn=left]").focus()
    tab.keyboard.press("Enter")
    assert tab.evaluate(eye) != before
    assert tab.problems == []  # type: ignore[attr-defined]
    tab.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_is_accessible_and_fits(browser: Browser, page: Page, tmp_path: Path, width: int, scheme: str) -> None:
    tab = opened(browser, page, width=width, scheme=scheme, strict=False)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.evaluate(resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    found = tab.evaluate("axe.run(document)")
    told = [(rule["id"], [node["html"][:200] for node in rule["nodes"]]) for rule in found["violations"]]
    assert told == []
    assert {"color-contrast", "label"} <= {rule["id"] for rule in found["passes"]}
    tab.screenshot(path=tmp_path / f"page-{width}-{scheme}.png", full_page=True)
    assert tab.problems == []  # type: ignore[attr-defined]
    tab.context.close()


def test_hostile_names_are_shown_as_text(browser: Browser, page: Page) -> None:
    tab = opened(browser, page)
    assert tab.locator("img").count() == 0
    assert "<img src=x onerror=alert(1)>" in tab.locator("#statement").inner_text()
    assert "<img src=x" in tab.locator("#coating-table").inner_text()
    tab.locator("#coating-filter").fill("lif")
    assert tab.locator("#coating-table tbody tr").count() == 1
    assert tab.problems == []  # type: ignore[attr-defined]
    tab.context.close()


def test_without_the_token_the_browser_gets_nothing(browser: Browser, page: Page) -> None:
    context = browser.new_context()
    tab = context.new_page()
    answer = tab.goto(page.base)
    assert answer is not None
    assert answer.status == 403
    assert tab.locator("#statement").count() == 0
    context.close()
