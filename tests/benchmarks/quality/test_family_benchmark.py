"""The family of pools: their defects, their pictures, and the commands that compare methods and scores on them."""

import hashlib
import json
from collections import defaultdict

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from benchmarks.lib.judgement import calibration_error
from benchmarks.quality.family import __main__ as family
from benchmarks.quality.family import scores
from benchmarks.quality.family.cells import Cell
from benchmarks.quality.family.summary import accuracy_rows, cell_figures, method_figures
from benchmarks.quality.pool import digits
from benchmarks.quality.pool.building import build
from benchmarks.quality.pool.clip_art import pictures, rasterise
from benchmarks.quality.pool.filtering_model import JUDGES
from benchmarks.quality.pool.filters import all_filters
from benchmarks.quality.pool.measuring import TrainingLog
from benchmarks.quality.pool.plan import MISMATCHED, RIGHT, SHARED_WRONG, Kind, planned
from benchmarks.quality.pool.settings import BASE, POOLS
from benchmarks.quality.pool.sources import Folders
from filtering.config.run import parse_config
from filtering.scores.right import auc

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} 20"><rect x="{x}" y="3" width="9" height="{height}"'
    ' fill="#{colour:06x}"/><title>{title}</title></svg>'
)


def plan_of(name, scale=0.2):
    return planned(10, 200, 0, scale, POOLS[name])


def share(plan, *kinds):
    return np.isin(plan.kind, kinds).mean()


def test_the_base_pool_is_the_one_that_was_published():
    plan = planned(10, 1200, 0)
    said = hashlib.sha256(b"".join(part.tobytes() for part in (plan.concept, plan.caption, plan.original)))
    said.update(" ".join(map(str, plan.kind)).encode())
    assert len(plan.kind) == 24_003
    assert said.hexdigest()[:16] == "4738148542966d94"
    assert POOLS["base"] == BASE


@pytest.mark.parametrize(("name", "wrong"), [("base", 0.28), ("swapped 5 %", 0.05), ("swapped 50 %", 0.5)])
def test_a_pool_has_the_share_of_swapped_captions_that_its_settings_say(name, wrong):
    plan = plan_of(name)
    assert share(plan, Kind.SWAPPED) == pytest.approx(wrong, abs=0.02)
    assert share(plan, Kind.BOILERPLATE) == pytest.approx(0.05, abs=0.01)
    assert share(plan, *SHARED_WRONG) == 0
    assert np.array_equal(plan.caption != plan.concept, np.isin(plan.kind, MISMATCHED))


def test_a_pool_without_duplicates_shows_every_picture_once():
    plan = plan_of("no duplicates")
    assert share(plan, Kind.NEAR_DUPLICATE) == 0
    right = np.isin(plan.kind, RIGHT)
    shown = set(zip(plan.concept[right].tolist(), plan.original[right].tolist(), strict=True))
    assert len(shown) == right.sum()


def test_groups_of_near_duplicates_have_a_wrong_caption_in_common():
    plan = plan_of("shared wrong captions")
    copies = np.isin(plan.kind, (Kind.NEAR_DUPLICATE, *SHARED_WRONG))
    groups = defaultdict(set)
    for row in np.flatnonzero(copies).tolist():
        groups[plan.concept[row], plan.original[row]].add((plan.caption[row], plan.kind[row]))
    assert all(len(said) == 1 for said in groups.values())
    wrong = [concept for (concept, _), said in groups.items() for caption, _ in said if caption != concept]
    assert len(wrong) / len(groups) == pytest.approx(0.5, abs=0.1)
    assert share(plan, *SHARED_WRONG) > 0.05
    assert share(plan, Kind.REPEATED_WRONG) == pytest.approx(share(plan, Kind.REWORDED_WRONG), rel=0.7)


@pytest.fixture(scope="session")
def clip_art(tmp_path_factory):
    """Clip art of 1,000 things with names of two words, half of them wider than high."""
    folder = tmp_path_factory.mktemp("clip-art")
    random = np.random.default_rng(0)
    for number in range(1000):
        letters = "".join(chr(ord("a") + number // power % 26) for power in (676, 26, 1))
        name = f"thing_{letters}_01.svg"
        colour = int(random.integers(0xC00000))
        shape = {"side": 20 + 10 * (number % 2), "x": 3 + number % 7, "height": 5 + number % 11}
        (folder / name).write_text(SVG.format(title="", colour=colour, **shape))
    return folder


def test_clip_art_is_named_by_its_file_or_its_own_title(tmp_path):
    def write(name, title, colour, side=20):
        text = SVG.format(side=side, x=3, height=9, colour=colour, title="").replace(
            "<title></title>",
            f'<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{title}</dc:title></metadata>',
        )
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    write("animals/gatto_01.svg", "Grey Cat 2", 0x111111)
    write("animals/same.svg", "Grey cat", 0x222222)
    write("animals/twin.svg", "Twin", 0x111111)
    write("tools/big_hammer_02.svg", "Part of the Flat Icon Collection", 0x333333)
    write("shapes/star_12pt.svg", "A star", 0x444444)
    write("tools/nothing.svg", "Nothing to see", 0xFFFFFF)
    (tmp_path / "tools/broken.svg").write_text("<svg")
    found = {art.name: art.key.rpartition("/")[2] for art in pictures(tmp_path)}
    assert found == {"grey cat": "gatto_01.svg", "big hammer": "big_hammer_02.svg"}


def test_clip_art_is_drawn_in_the_middle_of_a_white_square(clip_art):
    wide = next(path for path in sorted(clip_art.glob("*.svg")) if "0 0 30 20" in path.read_text())
    pixels = np.asarray(rasterise(str(wide), 60))
    assert pixels.shape == (60, 60, 3)
    assert (pixels[:10] == 255).all()
    assert (pixels[-10:] == 255).all()
    assert (pixels[20] < 255).any()


def test_a_folder_without_clip_art_is_refused_with_the_package_to_install(tmp_path):
    with pytest.raises(SystemExit, match="apt-get install openclipart-svg"):
        pictures(tmp_path)


@pytest.mark.slow
def test_digits_of_the_test_are_by_other_writers_and_drawings_differ(monkeypatch):
    monkeypatch.setattr(digits, "DRAWINGS", (2, 1))
    (pixels, labels), (test_pixels, test_labels) = digits.drawn_parts(32, 0)
    assert pixels.shape == (3000, 32, 32)
    assert (len(labels), len(test_labels), len(test_pixels)) == (3000, 297, 297)
    assert set(labels.tolist()) == set(test_labels.tolist()) == set(range(10))
    assert (labels[::2] == labels[1::2]).all()
    assert (pixels[::2] != pixels[1::2]).any(axis=(1, 2)).mean() > 0.99


@pytest.mark.slow
def test_repeated_wrong_captions_are_equal_word_by_word(fashion_mnist, tmp_path):
    build(tmp_path, Folders(fashion_mnist), POOLS["shared wrong captions"], 0.02)
    groups = defaultdict(list)
    for row in pq.read_table(tmp_path / "truth.parquet").to_pylist():
        groups[row["kind"], row["concept"], row["original"]].append(row["caption"])
    repeated = [said for (kind, _, _), said in groups.items() if kind == "repeated_wrong"]
    reworded = [said for (kind, _, _), said in groups.items() if kind == "reworded_wrong" and len(said) > 3]
    assert max(map(len, repeated)) > 3
    assert all(len(set(said)) == 1 for said in repeated)
    assert all(len(set(said)) > 1 for said in reworded)


def test_the_chance_that_right_exceeds_wrong_counts_ties_as_half():
    random = np.random.default_rng(0)
    right, wrong = random.integers(0, 9, 40), random.integers(0, 7, 30)
    pairs = [(a > b) + (a == b) / 2 for a in right.tolist() for b in wrong.tolist()]
    assert auc(right, wrong) == pytest.approx(np.mean(pairs))


def test_the_calibration_error_is_the_mean_distance_of_bins():
    random = np.random.default_rng(0)
    probability = np.append(random.random(500), [0.0, 1.0])
    right = random.random(502) < probability**2
    found = 0.0
    for low in range(15):
        inside = [at for at, p in enumerate(probability.tolist()) if low == min(int(p * 15), 14)]
        if inside:
            found += len(inside) / 502 * abs(probability[inside].mean() - right[inside].mean())
    assert calibration_error(probability, right) == pytest.approx(found)


def result(mean, seed=0, kept=30):
    return {"seed": seed, "test": {"mean": mean}, "truth": {"kept": kept}, "rows": 100}


def test_ranks_are_shared_by_equals_and_distances_are_to_the_best():
    weak = Cell(BASE, JUDGES["weak"], 0.3)
    found = {
        Cell(BASE, JUDGES["strong"], 0.3): {
            "default": [result(40.0), result(42.0, 1)],
            "a": [result(44.0)],
            "b": [result(41.0, kept=20)],
            "no filter": [result(45.0, kept=100)],
        },
        weak: {"default": [result(30.0)], "a": [result(20.0)]},
        Cell(BASE, JUDGES["weak"], 0.1): {},
    }
    cells = cell_figures(found, "test")
    assert [cell["model"] for cell in cells] == ["strong", "weak"]
    methods = cells[0]["methods"]
    assert {name: figures["rank"] for name, figures in methods.items()} == {
        "no filter": None,
        "a": 1,
        "default": 2,
        "b": 2,
    }
    assert methods["default"]["behind"] == pytest.approx(3)
    assert methods["default"]["error"] == pytest.approx(1)
    assert methods["a"]["error"] is None
    rows = {row["method"]: row for row in method_figures(cells)}
    assert rows["default"] | {"mean": 0} == {
        "method": "default",
        "cells": 2,
        "mean rank": 1.5,
        "best in": 1,
        "mean behind": 1.5,
        "worst behind": 3.0,
        "mean": 0,
    }
    assert rows["a"]["worst behind"] == 10
    table = {row["method"]: row["30 %"] for row in accuracy_rows(cells[:1])}
    assert table["default"] == "41.0 ± 1.0 (#2)"
    assert table["b"] == "41.0 of 20 % (#2)"
    assert table["no filter"] == "45.0 of 100 %"
    assert table["default behind the best"] == "3.0"


def test_half_a_line_of_the_log_is_dropped_and_its_training_written_anew(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text('{"key": "a", "figure": 1}\n{"key": "b", "fig')
    log = TrainingLog(path)
    assert list(log.results()) == ["a"]
    log.append({"key": "b", "figure": 2})
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == ["a", "b"]


@pytest.mark.parametrize("path", [family.METHODS, family.VARIANTS], ids=["methods", "variants"])
@pytest.mark.parametrize("keep", [0.1, 0.7])
def test_every_method_is_a_valid_configuration_at_every_keep_rate(path, keep):
    for chosen in all_filters(path):
        found = chosen.configuration(10, keep, 0)
        assert parse_config({"input": {"shards": "pool"}, "output": "run", **found}).selection is not None


def test_enough_is_left_to_choose_from_where_much_is_kept():
    methods = {chosen.name: chosen for chosen in all_filters(family.METHODS)}
    steps = [
        methods["neg clip loss + semdedup + d2, complexity"].configuration(10, share, 0)["selection"]["steps"]
        for share in (0.1, 0.5, 0.7, 0.9)
    ]
    assert [first["keep"] for first, *_ in steps] == [0.55, 0.75, 1.0, 1.0]


def test_variants_never_read_test_pictures(tmp_path):
    with pytest.raises(SystemExit, match="on validation pictures alone"):
        family.main(["--work", str(tmp_path), "--variants", "--examine", "test"])


POOLS_HERE = ("shared wrong captions", "other pictures")


@pytest.fixture(scope="module")
def options(tmp_path_factory, fashion_mnist, clip_art):
    work = tmp_path_factory.mktemp("family")
    where = ("--work", work, "--fashion-mnist", fashion_mnist, "--clip-art", clip_art, "--pools", *POOLS_HERE)
    return *where, "--models", "weak", "--scale", 0.02, "--judge-steps", 3


@pytest.mark.slow
def test_a_family_is_built_filtered_trained_and_examined_and_resumes(measured, options, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(digits, "DRAWINGS", (10, 2))
    only = ("no filter", "random", "d2, tuned")
    given = (*options, "--keeps", 0.3, 0.5, "--steps", 4, "--only", *only)
    found, printed = measured(family.main, *given, "--plot", tmp_path / "out.png")
    cells = [(cell["pool"], cell["model"], cell["keep"]) for cell in found["cells"]]
    assert cells == [(pool, "weak", keep) for keep in (0.3, 0.5) for pool in POOLS_HERE]
    for cell in found["cells"]:
        assert set(cell["methods"]) == set(only)
        assert {figures["rank"] for figures in cell["methods"].values()} <= {1, 2, None}
        assert all(0 <= figures["mean"] <= 100 for figures in cell["methods"].values())
        kept = {name: figures["kept"]["kept"] for name, figures in cell["methods"].items()}
        assert kept["random"] == kept["d2, tuned"] == round(cell["keep"] * kept["no filter"])
    assert {row["method"]: row["cells"] for row in found["methods"]} == dict.fromkeys(only, 4)
    assert "other pictures, weak filtering model" in printed
    assert (tmp_path / "out.png").stat().st_size > 0
    log = options[1] / "results.jsonl"
    # All pairs are the same pairs at every keep rate: that training is not repeated.
    lines = log.read_text().splitlines()
    assert len(lines) == 2 * (1 + 2 * 2)
    log.write_text("\n".join(lines[:-1]) + "\n")
    again, _ = measured(family.main, *given)
    assert again == found
    assert len(log.read_text().splitlines()) == len(lines)
    read, _ = measured(family.main, *given, "--table", "--examine", "validation")
    assert read["examined"] == "validation"
    assert log.read_text().count("\n") == len(lines)


@pytest.mark.slow
def test_scores_are_compared_with_the_truth_and_unknown_ones_skipped(measured, options, tmp_path, monkeypatch):
    monkeypatch.setattr(digits, "DRAWINGS", (10, 2))
    path = tmp_path / "scores.yaml"
    chance = {"score": "uniform", "probability": True}
    path.write_text(yaml.safe_dump({"all the same": chance, "clip": {"score": "clip_score"}, "x": {"score": "none"}}))
    rows, printed = measured(scores.main, *options, "--scores", path)
    assert [(row["pool"], row["score"]) for row in rows] == [
        (pool, name) for pool in POOLS_HERE for name in ("all the same", "clip")
    ]
    assert "x: skipped (selection.score: unknown scorer none" in printed
    for row in rows[::2]:
        assert row["AUC"] == 0.5
        # A probability of 1 for all pairs is as wrong as there are wrong pairs.
        assert row["ECE"] == pytest.approx(row["wrong, true"], abs=2e-4)
        assert row["wrong, said"] == 0
    assert all(0 <= row["AUC"] <= 1 and "ECE" not in row for row in rows[1::2])
    assert "AUC shared wrong" in rows[0]
    assert "AUC shared wrong" not in rows[-1]
