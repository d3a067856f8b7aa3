from clocks import Time

from filtering.runtime.progress import LineReporter

NOTE = "120 samples/s, 12 s left, 1.38 GB a task at most"


def test_what_is_waited_for_is_told_instead_of_nothing_done(capsys):
    at = Time()
    told = LineReporter(at.clock())
    told.start("embedding", 2, "shards")
    for seconds in range(20):
        at.sleep(1)
        told.wait("waiting for workers: 0 of 4" if seconds < 15 else "loading ViT-B-32")
    assert capsys.readouterr().err.splitlines() == [
        "embedding    waiting for workers: 0 of 4, 10 s",
        "embedding    loading ViT-B-32, 20 s",
    ]


def test_there_are_lines_now_and_then(capsys):
    at = Time()
    told = LineReporter(at.clock())
    told.start("embedding", 8, "shards")
    for _ in range(12):
        at.sleep(1)
        told.advance(3, NOTE)
    told.finish("4,505 samples embedded")
    assert capsys.readouterr().err.splitlines() == [
        f"embedding    3/8 shards, 10 s, {NOTE}",
        "embedding    4,505 samples embedded (12.0 s)",
    ]


def test_a_line_shows_no_secret(capsys):
    LineReporter().say("base: https://host/run?sig=Zm9vYmFy is used")
    assert capsys.readouterr().err == "base: https://host/run?sig=*** is used\n"
