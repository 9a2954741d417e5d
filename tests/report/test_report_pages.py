"""Reports in a real browser: without errors, without the network, readable on a phone; and MLflow's pages."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conftest import small_sweep
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright
from support.html_pages import HOSTILE, report_of
from support.made_up_runs import analysed, let_fail, made_up_run
from support.tracking_server import TrackingServer
from torch import nn

from dbviz_ray import compare
from dbviz_ray.analysis.compare.files import Inputs, write_numbers, write_pictures
from dbviz_ray.analysis.figures.drawing import draw_figures
from dbviz_ray.analysis.tables import read_table
from dbviz_ray.analysis.tracking import track, where_to_look
from dbviz_ray.store import REPORT_FILE, Store
from dbviz_ray.store.models import Failure, Outcome

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
QUIET = ["--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update"]
expect.set_options(timeout=60_000)  # of a busy server

MEASURE = """() => {
    const shown = element => element.checkVisibility() && element.childNodes.length
        && [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    const all = [...document.body.querySelectorAll('*')];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), broken = [], range = new Range();
    while (texts.nextNode())
        for (const interval of texts.currentNode.data.matchAll(/(?:[\\d.]+%?\\s)?\\[-?\\d[^\\]]*\\]/g)) {
            range.setStart(texts.currentNode, interval.index);
            range.setEnd(texts.currentNode, interval.index + interval[0].length);
            if (new Set([...range.getClientRects()].map(line => line.top)).size > 1) broken.push(interval[0]);
        }
    return {
        pictures: [...document.images].map(image => [image.alt, image.complete && image.naturalWidth > 0]),
        headings: [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(one => Number(one.tagName[1])),
        unresolved: [...document.querySelectorAll('a[href^="#"]')].map(link => link.hash.slice(1))
            .filter(name => document.querySelectorAll('[id="' + name + '"]').length !== 1),
        broken,
        entries: document.querySelectorAll('nav a').length,
        width: document.documentElement.scrollWidth,
        small: all.filter(one => shown(one) && parseFloat(getComputedStyle(one).fontSize) < 15)
            .map(one => one.outerHTML.slice(0, 80)),
    };
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real one without a window; it ends with this file, since its event loop would be in the way of others."""
    program = os.environ.get("BROWSER_PROGRAM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(PROGRAMS)} is on PATH, and BROWSER_PROGRAM names none")
    with sync_playwright() as driver, driver.chromium.launch(executable_path=program, args=QUIET) as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page as wide as a desktop's."""
    with browser.new_page(viewport=ViewportSize(width=1200, height=900)) as opened:
        yield opened


@pytest.fixture
def phone(browser: Browser) -> Iterator[Page]:
    """An empty page on a phone, which lays out as the page's own `viewport` says."""
    small = ViewportSize(width=390, height=844)
    with browser.new_page(viewport=small, is_mobile=True, has_touch=True, device_scale_factor=2) as opened:
        yield opened


def of_sweep(store: Store) -> None:
    sweep = small_sweep(
        grid={"width": [4, 8, 16], "label_noise": [0.0, 0.25], "seed": [0, 1]},
        planes={name: {"count": 4, "resolution": 8} for name in ("test", "a_plane_set_of_quite_a_long_name")},
        margins={"images": 10, "directions": 2},
        training={"epochs": 3, "snapshots": [1]},
    )
    made_up_run(Path(store.root), sweep, error=lambda model, _: 1.6 / model.width)
    draw_figures(analysed(store, sweep), sweep, ["double_descent", "training"])
    report_of(store, sweep)


def of_losses(store: Store) -> None:
    """Long names of networks, and a script as the reason of a failure."""
    long = "support.user_networks:network_with_options"
    cases = [{"architecture": ["fully_connected", "vit", long], "width": [4]}]
    sweep = small_sweep(grid={"seed": [0, 1, 2]}, cases=cases, description=HOSTILE)
    lost = sweep.models()[:2]
    made_up_run(Path(store.root), sweep, diverged=lambda model: model == sweep.models()[-1])
    let_fail(store, sweep, lambda model: "train" * (model in lost))
    draw_figures(analysed(store, sweep), sweep, ["by_recipe"])
    for model in lost:
        store.write_failure(Failure(model.model_id, "train", Outcome.FAILED, HOSTILE + "x" * 300))
    report_of(store, sweep)


def of_comparison(store: Store) -> None:
    models = [nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval() for _ in range(3)]
    found = compare(models, torch.rand(30, 1, 4, 4), torch.arange(30) % 3, planes=4, resolution=8)
    command, arguments = f"python -m dbviz_ray.score {'a_long_name.pt ' * 20}", {"precision": 0.01, "seed": 0}
    inputs = Inputs(command, arguments, HOSTILE, {}, [])
    write_numbers(store, found, inputs)
    write_pictures(store, found, inputs, found.figure())


@pytest.fixture(scope="module", params=[of_sweep, of_losses, of_comparison])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a report: of a sweep with all kinds of tables, of one that lost models, of a comparison."""
    store = Store(tmp_path_factory.mktemp(request.param.__name__) / "run")
    request.param(store)
    return Path(store.path(REPORT_FILE))


def troubles_of(page: Page) -> list[str]:
    """A list that fills with what goes wrong on a page from now on.

    That is messages of errors and warnings, requests that fail or are answered with an error, and those that leave the
    page's own files.
    """
    found: list[str] = []
    page.on("console", lambda said: found.extend([said.text] * (said.type in ("error", "warning"))))
    page.on("pageerror", lambda error: found.append(f"error: {error}"))
    page.on("requestfailed", lambda request: found.append(f"failed: {request.url[:200]} {request.failure}"))
    page.on("response", lambda answer: found.extend([f"{answer.status}: {answer.url}"] * (answer.status > 399)))
    page.on("request", lambda asked: found.extend([asked.url] * (not asked.url.startswith(("file:", "data:")))))
    return found


@pytest.mark.parametrize("device", ["page", "phone"])
def test_a_report_opens_without_errors_and_can_be_read(request, report: Path, device: str):
    opened: Page = request.getfixturevalue(device)
    wrong = troubles_of(opened)
    opened.goto(report.as_uri())
    opened.evaluate("Promise.all([...document.images].map(image => image.decode()))")
    found = opened.evaluate(MEASURE)
    assert wrong == []
    assert found["pictures"]
    assert all(alt and drawn for alt, drawn in found["pictures"])
    assert (found["headings"].count(1), found["headings"][0]) == (1, 1)
    steps = zip(found["headings"], found["headings"][1:], strict=False)
    assert all(below <= above + 1 for above, below in steps)
    assert found["entries"] == found["headings"].count(2) > 3
    assert found["width"] <= opened.viewport_size["width"]
    assert [found["unresolved"], found["small"], found["broken"]] == [[], [], []]


def test_unfolded_and_enlarged_parts_stay_within_the_page(phone: Page, report: Path):
    phone.goto(report.as_uri())
    phone.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    picture = phone.locator("figure img").first
    fitting = picture.bounding_box()["width"]
    picture.tap()
    assert picture.bounding_box()["width"] > fitting
    assert phone.evaluate(MEASURE)["width"] <= phone.viewport_size["width"]
    picture.tap()
    assert picture.bounding_box()["width"] == fitting


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_curves_are_seen_at_once_in_mlflow(page, tmp_path, monkeypatch):
    """Of two curves, without a click, from the address that a sweep prints."""
    sweep = small_sweep(grid={"width": [2, 4, 8], "label_noise": [0.0, 0.25], "seed": [0, 1]})
    store = made_up_run(tmp_path / "small", sweep, error=lambda model, _: 0.6 / model.width + model.label_noise)
    draw_figures(analysed(store, sweep), sweep, ["double_descent"])
    with TrackingServer(tmp_path) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        track(store, sweep)
        page.goto(where_to_look(store))
        plot = page.locator(".js-plotly-plot").nth(1)
        expect(plot.locator(".scatterlayer .point")).not_to_have_count(0)
        data = plot.evaluate("plot => plot.data.map(line => [line.name, line.marker.color, line.x, line.y])")
    assert len({colour[:7] for _, colour, *_ in data}) == 2
    shown = {name: dict(zip(x, y, strict=True)) for name, _, x, y in data}
    for noise, rows in read_table(store, "groups").sort_values("width").set_index("width").groupby("label_noise"):
        assert shown[f"label noise {noise:g}"] == pytest.approx(rows["test_error"].to_dict())
