import shutil
import subprocess

import pytest

from filtering.cli import main
from filtering.cli.completion import completion

TRY = """
try() {
  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
  local complete=$(complete -p filtering); complete=${complete##*-F }
  ${complete%% *}; echo "${COMPREPLY[*]}"
}
"""


def test_bash_completes_commands_options_files_formats_and_names(tmp_path):
    (tmp_path / "script").write_text(completion("bash"))
    (tmp_path / "run.yaml").write_text("")
    (tmp_path / "runs/first").mkdir(parents=True)
    asked = {
        "filtering ex": "explain export",
        "filtering run --c": "--config",
        "filtering run --config run.y": "run.yaml",
        "filtering export runs/first --format ''": "datacomp shards tar parquet table mds litdata",
        "filtering status runs/f": "runs/first",
        "filtering status runs/first --w": "--watch",
        "filtering methods clip_": "clip_powered clip_score",
        "filtering completion z": "zsh",
    }
    script = f"source ./script\n{TRY}" + "".join(f"try {words}\n" for words in asked)
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert dict(zip(asked, done.stdout.splitlines(), strict=True)) == asked, done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_take_their_scripts(shell, tmp_path, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "clip_powered" in script
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


def test_an_unknown_shell_is_refused_with_the_nearest(refused):
    assert "unknown shell fsh; did you mean fish?" in refused("completion", "fsh")
