"""The fuzzing benchmark on few inputs: what it counts, and that its inputs are made of files that are read."""

import pytest

from benchmarks.robustness.fuzz import __main__ as fuzz
from benchmarks.robustness.fuzz import counting, worker
from benchmarks.robustness.fuzz.kinds import ACCEPTED, Input, Kind, Wrong
from filtering.core.errors import InputError

# Valid, and quarantined all the same.
REFUSED = {"links": "missing_caption", "tiff I": "image_undecodable", "tiff F": "image_undecodable"}


class Ends(Kind):
    """Each input ends as its number says."""

    def make(self, noise):
        return Input("form", "change", b"%d" % int(noise.random() * 5))

    def read(self, given):
        ways = [lambda: ACCEPTED, lambda: "a_reason", self.refuse, self.lie, self.fail]
        return ways[int(given.data)]()

    def refuse(self):
        raise InputError("x: is wrong")

    def lie(self):
        raise Wrong("other values")

    def fail(self):
        raise KeyError("x")


class Dies(Ends):
    def fail(self):
        import os

        os._exit(9)


@pytest.mark.parametrize("name", [name for name in fuzz.KINDS if name != "run"])
def test_valid_files_are_accepted_and_an_input_is_made_of_its_number_alone(name, tmp_path):
    made = counting.Maker(fuzz.KINDS[name])(tmp_path)
    for form, data in made.forms.items():
        assert made.read(Input(form, "none", data)) == REFUSED.get(form, ACCEPTED), form
    inputs = [[made.make(worker.noise_of(3, name, number)) for number in range(20)] for _ in range(2)]
    assert inputs[0] == inputs[1]
    assert len({one.data for one in inputs[0]}) > 10


def test_inputs_are_read_and_counted(measured, tmp_path):
    (row,), printed = measured(fuzz.main, "tar", "--count", 60, "--save", tmp_path / "bad")
    assert (row["kind"], row["inputs"]) == ("tar", 60)
    assert row["accepted"] + row["refused"] == 60
    assert sum(row["reasons"].values()) == 60
    assert "corrupt_tar" in printed
    assert not (tmp_path / "bad").exists()


def test_each_end_is_told_from_the_others(measured, monkeypatch, tmp_path):
    monkeypatch.setattr(counting, "Maker", lambda place: Ends)
    (row,), printed = measured(fuzz.main, "yaml", "--count", 50, "--save", tmp_path / "bad", status=1)
    assert row["reasons"].keys() == {ACCEPTED, "a_reason", "refused: InputError", "WRONG", "RAW"}
    assert (row["CRASH"], row["inputs"]) == (0, 50)
    saved = sorted((tmp_path / "bad").glob("*-RAW"))
    assert len(saved) == min(10, row["RAW"])
    assert saved[0].read_bytes() == b"4"
    assert "KeyError: 'x'" in saved[0].with_suffix(".txt").read_text()
    assert f"RAW {saved[0]}: form; change; KeyError: 'x'" in printed


@pytest.mark.slow
def test_a_process_that_dies_costs_one_input(measured, monkeypatch, tmp_path):
    monkeypatch.setattr(counting, "Maker", lambda place: Dies)
    (row,), _ = measured(fuzz.main, "yaml", "--count", 12, "--save", tmp_path / "bad", status=1)
    assert row["inputs"] == 12
    assert row["CRASH"] > 0
    assert {path.read_bytes() for path in (tmp_path / "bad").glob("*-CRASH")} == {b"4"}


@pytest.mark.slow
def test_damage_to_an_object_of_a_run_is_tried_on_every_command(measured, tmp_path):
    (row,), _ = measured(fuzz.main, "run", "--count", 3, "--save", tmp_path / "bad")
    assert row["inputs"] == row["accepted"] + row["refused"] == 3
