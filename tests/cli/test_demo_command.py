from filtering.cli.demo import demo_lines

FOUND = {
    "totals": {"input": 4541, "kept": 1915, "dropped": 2590, "quarantined": 36},
    "reasons": {
        "dropped": {"filter:clip_score": 675, "selection:d2": 1915},
        "quarantined": {"image_undecodable": 24, "of_its_own": 12},
    },
    "measures": [
        {"name": "swapped captions dropped", "selected": 1.0, "random": 0.571, "percent": True},
        {"name": "different pictures kept", "selected": 1244.0, "random": 1107.9, "percent": False},
    ],
    "manifest": "demo/run/manifest",
    "page": "demo/run/report/index.html",
}


def test_a_person_reads_what_was_kept_and_what_became_of_the_defects():
    told = [" ".join(line.split()) for line in demo_lines(FOUND) if line]
    assert told == [
        "samples 4,541",
        "kept 1,915",
        "dropped 2,590",
        "not picked by D2 1,915",
        "caption does not match the picture 675",
        "quarantined 36",
        "picture cannot be decoded 24",
        "of_its_own 12",
        "planted in the pool kept set random choice",
        "swapped captions dropped 100.0% 57.1%",
        "different pictures kept 1,244.0 1,107.9",
        "manifest demo/run/manifest",
        "report demo/run/report/index.html",
    ]
