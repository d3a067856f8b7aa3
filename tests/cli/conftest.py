"""The command line, called in this process."""

import pytest
from pools import metadata_config
from processes import write_config

from filtering.cli import main


@pytest.fixture
def call_main(capsys):
    """Run the command line on arguments, and return its exit status, stdout and stderr."""

    def ended(*arguments):
        try:
            status = main(arguments)
        except SystemExit as ending:
            status = ending.code
        return (status, *capsys.readouterr())

    return ended


@pytest.fixture
def refused(call_main):
    """Run the command line on arguments that it must refuse: one line, which is returned, and exit status 2."""

    def line(*arguments):
        status, out, err = call_main(*arguments)
        assert status == 2
        assert err.count("\n") == 1
        assert out == ""
        return err

    return line


@pytest.fixture
def config_file(tmp_path, metadata_pool):
    """The file of a configuration that can run."""
    return write_config(tmp_path / "run.yaml", metadata_config(metadata_pool, tmp_path / "run"))
