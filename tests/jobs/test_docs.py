"""The documentation against the code: links, commands, configurations, paths and quoted errors."""

import argparse
import ast
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import yaml

from docs import site
from docs.reference import pages
from filtering import cli
from filtering.config.methods import DECIDED
from filtering.config.run import Config, load_config, parse_config
from filtering.manifests.reasons import FAULTS
from filtering.pipeline.selection_steps import every_step, specs_of
from filtering.selection.registry import BUDGETS, SELECTORS

ROOT = Path(__file__).parents[2]
# Long lines: read as a text file, or written by `docs.reference`.
WRITTEN = ("CONTRIBUTING.md", *pages())
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# Beside them, pages that show tables wider than a line.
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.md"))
TROUBLES = ROOT / "docs/troubleshooting.md"
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
INLINE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# What opens an inline code that is no message of ours.
FOREIGN = ("filtering ", "ray ", "docker ", "python ", "tar ", "pip ", "{", "<")
SHORTEST = 8

every_text = pytest.mark.parametrize("page", [*PAGES, *BENCHMARKS], ids=lambda page: str(page.relative_to(ROOT)))
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page):
    """A page without its code, in which links and headings are found."""
    text = re.sub(FENCED, "", page.read_text())
    return re.sub(INLINE, lambda code: "" if "](" in code[1] or "[" in code[1] else code[1], text)


def slug(heading):
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@cache
def anchors(page):
    return {slug(line.lstrip("#")) for line in prose(page).splitlines() if re.match(r"#+ ", line)}


def inline_codes(page):
    return [" ".join(code.split()) for code in INLINE.findall(re.sub(FENCED, "", page.read_text()))]


def block_commands(page):
    """The commands of a page's indented blocks: they are whole."""
    text = re.sub(FENCED, "", page.read_text()).replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if re.match(r" {4,}filtering( |$)", line)]
    return [shlex.split(line, comments=True)[1:] for line in lines]


def inline_commands(page):
    """The commands that stand in a sentence: they may lack what is required."""
    found = [shlex.split(code)[1:] for code in inline_codes(page) if code.startswith("filtering ")]
    return [command for command in found if re.fullmatch(r"[a-z]+", command[0])]


@pytest.fixture(scope="module")
def parser():
    """The command line's parser, as `main` asks it."""
    found = []

    class Enough(BaseException):
        pass

    def note(self, *_):
        found.append(self)
        raise Enough

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_known_args", note)
        with pytest.raises((Enough, SystemExit)):
            cli.main(["methods"])
    return found[0]


def refusal(parser, command, capsys):
    """What the parser says against a command; nothing if it takes it."""
    try:
        parser.parse_args(command)
    except SystemExit:
        return capsys.readouterr().err
    return ""


@every_text
def test_every_link_and_anchor_leads_somewhere(page):
    targets = [target for target in LINK.findall(prose(page)) if not re.match(r"https?://", target)]
    assert [target for target in targets if not leads_somewhere(page, target)] == []


def leads_somewhere(page, target):
    name, _, anchor = target.partition("#")
    at = (page.parent / name).resolve() if name else page
    return at.exists() and at.is_relative_to(ROOT) and (not anchor or anchor in anchors(at))


def test_every_page_is_linked_from_the_readme_and_from_the_index():
    for index in (ROOT / "README.md", ROOT / "docs/README.md"):
        there = {(index.parent / target.partition("#")[0]).resolve() for target in LINK.findall(prose(index))}
        assert {page for page in PAGES[2:] if page.name != "README.md"} <= there


def named_in_navigation():
    """The pages that mkdocs.yml names, in its order."""
    # The rest of it holds YAML of Python's.
    _, _, navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")

    def names(node):
        if isinstance(node, str):
            return [node]
        return [name for one in (node.values() if isinstance(node, dict) else node) for name in names(one)]

    return names(yaml.safe_load(navigation))


def test_the_sites_navigation_and_llms_txt_name_every_page_once():
    assert sorted(named_in_navigation()) == sorted(site.pages())
    listed = re.findall(r"^- \[[^\]]+\]\((.*?)\): ", (ROOT / "docs/llms.txt").read_text(), re.M)
    assert sorted(listed) == sorted(page.name for page in PAGES[2:] if page.name != "README.md")


def test_links_on_the_site_lead_to_its_pages():
    targets = {name: LINK.findall(re.sub(FENCED, "", text)) for name, text in site.pages().items()}
    found = {target.partition("#")[0] for links in targets.values() for target in links if "://" not in target}
    pictures = {path.name for path in (ROOT / "docs").glob("*.png")}
    assert found - pictures <= {*site.pages(), ""}
    assert "index.md" in found
    assert pictures <= found


def test_a_drawing_is_a_table_on_the_site_and_files_of_the_repository_are_named():
    text = site.pages()["index.md"]
    assert "mermaid" not in text
    assert "| **graph** | kNN in each concept, replicas across; recall measured |" in text
    assert "jobs/configs/datacomp-small.yaml" in text
    assert "](jobs/" not in text


def test_nothing_installs_this_package_by_its_bare_name():
    """On an index that name may be somebody else's."""
    files = [*PAGES, *(ROOT / "jobs").rglob("*.*"), *(ROOT / "filtering").rglob("*.py"), *(ROOT / "docker").iterdir()]
    texts = {file: file.read_text(errors="replace") for file in files if file.suffix != ".pyc"}
    bare = re.compile(r"pip install [^\n`]*(?<![\w/.-])filtering(?:\[[\w,]*\])?(?![\w\[-]| @ )")
    assert [str(file) for file, text in texts.items() if bare.search(text)] == []
    assert bare.search("pip install 'filtering[demo]'")
    assert not bare.search('pip install "filtering[language,demo] @ git+REPOSITORY"')


@every_page
def test_every_command_in_a_block_is_taken(page, parser, capsys):
    for command in filter(None, block_commands(page)):
        words = command[: command.index(">")] if ">" in command else command
        assert refusal(parser, words, capsys) == "", command


@every_page
def test_every_command_in_a_sentence_has_a_verb_and_options_that_exist(page, parser, capsys):
    for command in inline_commands(page):
        said = refusal(parser, command, capsys)
        assert said == "" or "arguments are required" in said, f"{command}: {said}"
        with pytest.raises(SystemExit):
            parser.parse_args([command[0], "--help"])
        known = capsys.readouterr().out
        assert all(word in known for word in command if word.startswith("--")), command


def test_every_override_that_is_shown_is_valid(tmp_path):
    (tmp_path / "run.yaml").write_text("input: {shards: pool/*.tar}\noutput: runs/first\nbase: latest\n")
    overrides = {
        command[at + 1]
        for page in PAGES
        for command in (*block_commands(page), *inline_commands(page))
        for at, word in enumerate(command[:-1])
        if word == "--set" and command[at + 1] != "KEY=VALUE"
    }
    assert overrides
    for override in overrides:
        named_parts_exist(load_config(str(tmp_path / "run.yaml"), [override]))


def named_parts_exist(config):
    for step in every_step(config):
        assert step.budget_name in (*DECIDED, *BUDGETS)
        assert step.method in SELECTORS
        assert all(specs_of(step))


@every_page
def test_every_configuration_that_is_shown_is_valid(page):
    for language, text in FENCED.findall(page.read_text()):
        if language != "yaml":
            continue
        shown = yaml.safe_load(text)
        assert set(shown) <= set(Config.model_fields)
        named_parts_exist(parse_config({"input": {"shards": "pool/*.tar"}, "output": "runs/first", **shown}))


@every_text
def test_every_script_that_is_named_is_there_with_its_options(page):
    text = " ".join(page.read_text().split())
    for script in re.findall(r"python (jobs/[\w/.-]+)", text):
        assert (ROOT / script.rstrip(".")).is_file(), f"{script} is not there"
    for module, rest in re.findall(r"python -m (benchmarks[\w.]+)([^`|#]*)", text):
        at = ROOT / module.rstrip(".").replace(".", "/")
        files = sorted(at.glob("*.py")) if at.is_dir() else [at.with_suffix(".py")]
        if at.with_name("__main__.py").exists():
            # A package's commands may share a module of options.
            files += sorted(at.parent.glob("*.py"))
        assert all(file.is_file() for file in files), f"{module} is not there"
        code = "".join(file.read_text() for file in files)
        shared = (ROOT / "benchmarks/lib/arguments.py").read_text()
        for option in re.findall(r"--[a-z][\w-]*", rest):
            assert f'"{option}"' in code + shared, f"{module} knows no {option}"


@every_text
def test_every_file_of_the_repository_that_is_named_is_there(page):
    for code in inline_codes(page):
        if re.fullmatch(r"(benchmarks|docker|filtering|jobs|tests)/[\w/.-]*", code):
            assert (ROOT / code).exists(), code


@cache
def literals():
    """Every text of the package's code; what is filled in is NUL."""
    return [text for file in sorted((ROOT / "filtering").rglob("*.py")) for text in texts(ast.parse(file.read_text()))]


def texts(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)


def quoted_messages():
    """What troubleshooting.md quotes: its inline codes of three words or more that are no commands."""
    before, _, _ = TROUBLES.read_text().partition("## Quarantine")
    codes = [" ".join(code.split()) for code in INLINE.findall(before[before.index("## Configuration") :])]
    return [code for code in codes if code.count(" ") >= 2 and not code.startswith(FOREIGN)]


@pytest.mark.slow
@pytest.mark.parametrize("message", quoted_messages())
def test_every_quoted_message_is_one_of_ours(message):
    pieces = [piece for piece in message.split("...") if re.search(r"\w{2}", piece)]
    assert max(map(len, pieces)) >= SHORTEST
    for piece in pieces:
        # A message may be put together of several texts.
        assert any(piece.strip() in text for text in literals()), piece


def test_troubleshooting_quotes_many():
    assert len(quoted_messages()) > 60


def explained_reasons():
    _, _, table = TROUBLES.read_text().partition("## Quarantine")
    first_cells = re.findall(r"^\| (`[^|]*) \|", table, re.M)
    return {reason for cell in first_cells for reason in INLINE.findall(cell)}


def test_the_reasons_of_quarantine_are_explained():
    assert explained_reasons() == set(FAULTS)


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in WRITTEN], ids=lambda page: page.name)
def test_lines_are_short(page):
    assert [line for line in page.read_text().splitlines() if len(line) > 125] == []


@pytest.mark.parametrize("name", pages())
def test_the_reference_is_what_the_code_says(name):
    assert (ROOT / "docs" / name).read_text() == pages()[name], "run python -m docs.reference"
