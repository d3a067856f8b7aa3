import json
import subprocess
import sys

from filtering.manifests import verify


def test_nothing_heavy_is_imported_before_a_command_needs_it():
    heavy = ["numpy", "pydantic", "rich", "ray", "torch", "fsspec", "pyarrow", "yaml"]
    code = (
        "import sys; from filtering.cli import main; main([])\n"
        "from filtering.cli.parser import new_parser; new_parser().format_help()\n"
        f"sys.exit(' '.join(name for name in {heavy} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "\n")


def test_what_a_library_prints_stays_off_stdout(metadata_run, call_main, monkeypatch):
    def noisy(run):
        print("a notice of a library")
        return iter(())

    monkeypatch.setattr(verify, "problems", noisy)
    status, out, err = call_main("verify", str(metadata_run), "--json")
    assert status == 0
    assert json.loads(out)["ok"] is True
    assert "a notice of a library" in err
