from dataclasses import replace

from filtering.concepts.artifacts import Drift
from filtering.graph.artifacts import GraphResult
from filtering.report.facts import base_facts, graph_facts

GRAPH = GraphResult(
    nodes=1200,
    edges=8000,
    isolated=3,
    crossing=400,
    largest_degree=40,
    mean_degree=6.7,
    crossing_share=0.05,
    degrees_by_power_of_2=[3, 1197],
    partitions=2,
    replicas=100,
    distances=5000,
    share_of_brute_force=0.1,
    k=10,
    components=7,
    largest_component=1100,
)
BASE = {
    "run": "runs/1",
    "run_id": "0",
    "shards": {"new": 2, "changed": 0},
    "embedded_shards": 2,
    "concepts": {"all": 20, "searched": 5, "selected": 4},
}


def test_facts_of_a_graph():
    facts = dict(graph_facts(GRAPH))
    assert facts["Edges"] == "4,000"
    assert facts["Connected components"] == "7, the largest with 1,100 samples"
    assert graph_facts(replace(GRAPH, nodes=0)) == ()


def test_components_that_were_too_many_to_count_are_left_out():
    assert "Connected components" not in dict(graph_facts(replace(GRAPH, components=None, largest_component=None)))


def test_facts_of_a_base_and_its_drift():
    drift = Drift(new_rows=120, distance=0.25, distance_at_fit=None, grown=0, rows_at_fit=600)
    facts = dict(base_facts(BASE, drift))
    assert facts["Shards"] == "2 new, 0 changed"
    assert facts["Concepts selected again"] == "4 of 20"
    assert facts["Drift: distance"] == "0.25"
    assert "Drift: distance at fit" not in facts
    assert base_facts(None, drift) == ()
