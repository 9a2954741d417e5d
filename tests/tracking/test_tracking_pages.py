"""MLflow's pages in a real browser: a newcomer sees the curves at once."""

import pytest
from conftest import small_sweep
from playwright.sync_api import expect
from support.drawn_figures import tabulated
from support.made_up_runs import made_up_run
from support.tracking_server import TrackingServer

from dbviz_ray.analysis.figures.drawing import draw_figures
from dbviz_ray.analysis.tables import read_table
from dbviz_ray.analysis.tracking import track, where_to_look

pytest_plugins = ["support.browser_fixtures"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
expect.set_options(timeout=60_000)  # of a busy server


def test_the_curves_are_seen_at_once(page, tmp_path, monkeypatch):
    """Of two curves, without a click, from the address that a sweep prints."""
    sweep = small_sweep(grid={"width": [2, 4, 8], "label_noise": [0.0, 0.25], "seed": [0, 1]})
    store = made_up_run(tmp_path / "small", sweep, error=lambda model, _: 0.6 / model.width + model.label_noise)
    draw_figures(tabulated(store, sweep), sweep, ["double_descent"])
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
