import json

from filtering.cli.drawing import STAGES, to_come


def test_stages_said_to_come_are_those_of_a_run(metadata_run):
    record = json.loads((metadata_run / "run.json").read_text())
    assert tuple(stage["name"] for stage in record["stages"]) == STAGES


def test_what_is_to_come():
    assert to_come("manifests") == ("report",)
    assert to_come("report") == ()
    assert to_come("selection-near_imagenet")[0] == "selection"
    assert to_come("pool") == ()
    assert to_come("inventory") == STAGES[1:]
    assert to_come("text_partitions") == ("text_graph", *STAGES[STAGES.index("scores") :])
