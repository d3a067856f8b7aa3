"""Build the documentation as a site that needs no network, into build/site.

    python -m docs.site

Run it from the root of the repository, in an environment with the dependency group docs; `make docs` does both. Links
are checked: one that leads nowhere ends the build, as does a page that would load something from elsewhere.
"""

import os
import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
STAGED, SITE = ROOT / "build/docs", ROOT / "build/site"
# Pages that lie beside docs/, by their names on the site. The index of docs/ is the navigation's job.
MOVED = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
INDEX = "docs/README.md"
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
# The line of links that a page begins with, where nothing else leads to the others.
SIGNPOST = re.compile(r"^\[Documentation\]\(README\.md\).*?\n\n", re.M | re.S)
NODE = re.compile(r'\w+\["<b>(.*?)</b>(.*?)"\]')
LOADED = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=["']?(?:https?:)?//""")


def main() -> int:
    """Lay the pages out, build the site, and check that it loads nothing from elsewhere."""
    shutil.rmtree(STAGED, ignore_errors=True)
    for name, text in pages().items():
        (STAGED / name).parent.mkdir(parents=True, exist_ok=True)
        (STAGED / name).write_text(text)
    for picture in (ROOT / "docs").glob("*.png"):
        shutil.copy(picture, STAGED)
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict"]
    # The theme would advertise its successor.
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, check=False)
    if done.returncode:
        return done.returncode
    # For those who read text: the pages as they are written, and their index.
    for page in [*STAGED.glob("*.md"), ROOT / "docs/llms.txt"]:
        shutil.copy(page, SITE)
    foreign = [str(page) for page in SITE.rglob("*.html") if LOADED.search(page.read_text())]
    print("\n".join(f"{page}: loads something from elsewhere" for page in foreign) or f"{SITE}/index.html")
    return 1 if foreign else 0


def pages() -> dict[str, str]:
    """Return the text of every page of the site by its name there."""
    own = {f"docs/{path.name}": path.name for path in sorted((ROOT / "docs").glob("*.md"))}
    placed = {**MOVED, **{source: name for source, name in own.items() if source != INDEX}}
    return {name: page(source, placed) for source, name in placed.items()}


def page(source: str, placed: dict[str, str]) -> str:
    """Return a page's text with links as the site has them; what is in the repository alone is named, not linked."""

    def linked(found: re.Match[str]) -> str:
        picture, words, target = found.groups()
        name, _, anchor = target.partition("#")
        if not name or "://" in name:
            return found[0]
        there = posixpath.normpath(posixpath.join(posixpath.dirname(source), name))
        there = "README.md" if there == INDEX else there
        if picture:
            return f"![{words}]({posixpath.basename(there)})"
        if there in placed:
            return f"[{words}]({placed[there]}{'#' if anchor else ''}{anchor})"
        return f"{words} (`{there}`)" if words != there else f"`{there}`"

    return "".join(_parts(SIGNPOST.sub("", (ROOT / source).read_text(), count=1), linked))


def _parts(text: str, linked: Callable[[re.Match[str]], str]) -> Iterator[str]:
    """Yield a page's prose with other links, and its code as it is; a drawing becomes a table."""
    at = 0
    for code in FENCED.finditer(text):
        yield LINK.sub(linked, text[at : code.start()])
        yield "\n".join(_table(code[2])) if code[1] == "mermaid" else code[0]
        at = code.end()
    yield LINK.sub(linked, text[at:])


def _table(drawing: str) -> Iterator[str]:
    """Yield a row for each node of a flowchart: to draw it, a page would load a script."""
    yield from ("| stage | what it reads or makes |", "|---|---|")
    yield from (f"| **{title}** | {rest.replace('<br>', ' ').strip()} |" for title, rest in NODE.findall(drawing))


if __name__ == "__main__":
    raise SystemExit(main())
