"""MLflow's pages in a real browser: a newcomer sees the curves at once, and every link leads on."""

from __future__ import annotations

import re

import pytest
from conftest import small_sweep
from playwright.sync_api import Page, expect
from support.made_up_runs import made_up_run
from support.tracking_server import TrackingServer

from dbviz_ray.analysis.figures.drawing import draw_figures
from dbviz_ray.analysis.tables import compute_tables, read_table, write_tables
from dbviz_ray.analysis.tracking import track, where_to_look
from dbviz_ray.analysis.tracking.contents import PREVIEW

pytest_plugins = ["support.browser_fixtures"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SECONDS = 60
"""Within which a page shows what it asks a busy server for."""
expect.set_options(timeout=SECONDS * 1000)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A run of two curves, and the address of its charts on a server."""
    folder = tmp_path_factory.mktemp("pages")
    with TrackingServer(folder) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", server.uri)
        sweep = small_sweep(grid={"width": [2, 4, 8], "label_noise": [0.0, 0.25], "seed": [0, 1]})
        store = made_up_run(folder / "small", sweep, error=lambda model, _: 0.6 / model.width + model.label_noise)
        write_tables(store, compute_tables(store, sweep))
        draw_figures(store, sweep, ["double_descent"])
        track(store, sweep)
        yield store, where_to_look(store)


def chart(page: Page, title: str):
    """The plot under a title."""
    plots = page.locator(".js-plotly-plot")
    card = page.locator("div").filter(has=page.get_by_text(title, exact=True)).filter(has=plots).last
    return card.locator(".js-plotly-plot").first


def run_link(page: Page, name: str):
    return page.locator("a[href*='/runs/']").filter(has_text=re.compile(f"^{re.escape(name)}$")).first


def opened_by(page: Page, link: str) -> Page:
    """The page that a link of a description opens; it may be on the part that is folded."""
    with page.context.expect_page() as opened:
        run_link(page, link).dispatch_event("click")
    return opened.value


def test_the_curves_are_seen_at_once(page, results):
    store, address = results
    groups = read_table(store, "groups").sort_values("width")
    page.goto(address)
    for title in ("errors over width/test_error", "reproducibility over width/reproducibility"):
        plot = chart(page, title)
        expect(plot.locator(".scatterlayer .point")).not_to_have_count(0)
        lines = plot.evaluate("plot => plot.data.map(line => [line.name, line.x, line.y])")
        shown = {name: dict(zip(x, y, strict=True)) for name, x, y in lines}
        assert shown == {
            f"label noise {noise:g}": pytest.approx(dict(zip(rows["width"], rows[title.split("/")[1]], strict=True)))
            for noise, rows in groups.groupby("label_noise")
        }
        assert plot.evaluate("plot => plot.layout.xaxis.type") == "log"
    for name in ("small", "label noise 0", "label noise 0.25"):
        expect(run_link(page, name)).to_be_visible()


def test_links_lead_from_the_findings_to_a_training_and_back(page, results):
    page.goto(results[1])
    run_link(page, "small").click()
    expect(page.get_by_text("label noise 0.25, test planes: ").first).to_be_attached()
    picture = page.locator("img[src*='double_descent.png']").first
    expect(picture).to_have_js_property("complete", True)
    assert picture.evaluate("picture => picture.naturalWidth") == PREVIEW
    expect(opened_by(page, "Double descent").get_by_text("figures/double_descent.png").first).to_be_visible()
    curve = opened_by(page, "fully_connected, label noise 0.25")
    expect(curve.get_by_role("heading", name="label noise 0.25", exact=True)).to_be_visible()
    training = opened_by(curve, "seed 1")
    expect(training.get_by_role("heading", name="width 2, label noise 0.25, seed 1", exact=True)).to_be_visible()
    expect(opened_by(training, "small").get_by_role("heading", name="small", exact=True)).to_be_visible()
