import json
import re
from pathlib import Path

import promql_parser
import pytest
from exported_metrics import exported_names
from ray.dashboard.modules.metrics.dashboards import default_dashboard_panels

DASHBOARD = json.loads((Path(__file__).parents[2] / "jobs/grafana/filtering.json").read_text())
ROWS = [panel for panel in DASHBOARD["panels"] if panel["type"] == "row"]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
METRIC = re.compile(r"\b(?:ray|autoscaler)_\w+")


def _metrics(text):
    return set(METRIC.findall(text))


def test_every_figure_of_ours_is_exported_and_shown():
    asked = {name for query in QUERIES for name in _metrics(query) if name.startswith("ray_filtering_")}
    assert asked <= exported_names()
    # A histogram is shown by its buckets; its count and its estimated sum are not.
    assert asked == {name for name in exported_names() if not name.endswith(("_count", "_sum"))}


def test_every_figure_of_ray_is_one_that_rays_own_dashboard_shows():
    asked = {name for query in QUERIES for name in _metrics(query) if not name.startswith("ray_filtering_")}
    assert asked <= _metrics(Path(default_dashboard_panels.__file__).read_text())


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_is_promql(query):
    promql_parser.parse(query.replace("$__rate_interval", "5m").replace("$__range", "3h"))


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_is_of_the_chosen_session(query):
    metrics = METRIC.findall(query)
    assert query.count('{SessionName=~"$session"') == len(metrics) > 0


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_panel_says_what_it_shows(panel):
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    sources = {panel["datasource"]["uid"], *(target["datasource"]["uid"] for target in panel["targets"])}
    assert sources == {"${datasource}"}
    assert len({target["legendFormat"] for target in panel["targets"]}) == len(panel["targets"])


def test_panels_have_ids_and_places_of_their_own():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    cells = [cell for panel in DASHBOARD["panels"] for cell in _cells(panel["gridPos"])]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def _cells(place):
    return [
        (x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])
    ]


def test_the_data_source_and_the_session_are_chosen_on_the_page():
    assert [(variable["name"], variable["type"]) for variable in DASHBOARD["templating"]["list"]] == [
        ("datasource", "datasource"),
        ("session", "query"),
    ]
    assert [row["title"] for row in ROWS] == ["The run", "The cluster"]
