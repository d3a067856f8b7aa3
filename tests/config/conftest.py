import pytest


@pytest.fixture
def smallest_file(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("input:\n  shards: pool/*.tar\noutput: runs/first\n")
    return str(path)
