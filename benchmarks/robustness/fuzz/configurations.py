"""Whole configurations as YAML, damaged as text and key by key, with `--set` overrides."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from benchmarks.robustness.fuzz.kinds import ACCEPTED, Input, Kind, must
from filtering.config.methods import METHODS
from filtering.config.run import Config, load_config, parse_config
from filtering.embedding.checkpoint import check_model
from filtering.shards.presence import check_presence
from tests.support.mutations import EDGES, Noise, mutated
from tests.support.wrong_json import DELETED, ENTIRE, WRONG, Place, changed, places

# YAML of one value; what may stand anywhere.
TEXTS: tuple[str, ...] = (
    "2026-99-99",
    "2026-01-01",
    "1e-3",
    ".nan",
    "-.inf",
    "0x1F",
    "1_0",
    "~",
    "yes",
    "''",
    "'",
    '"\\ud800"',
    '"\\0"',
)
TEXTS += ("*a", "&a [*a]", "<<: *a", "!!python/object/apply:os.system [x]", "!!int x", "!!binary x", "!!set {a, b}")
TEXTS += (
    "!!float 9",
    "!!timestamp x",
    "!!null x",
    "!!bool 7",
    "!!omap [a: 1]",
    "!!pairs [a]",
    "? [a]",
    "{? {a: 1} : 2}",
)
TEXTS += (
    "[",
    "{",
    "[" * 2000,
    "9" * 5000,
    "x" * 5000,
    "a: " * 50,
    "- " * 500,
    "|\n x",
    ">",
    "%YAML 9.9",
    "---",
    "...",
    "\t",
)
TEXTS += (
    "{date}",
    "s3://u:p@b/x",
    "a/{0..9}.tar",
    "a/{0..999999999999}.tar",
    "hf://x",
    "a::b",
    "\u202e",
    "\x1b[2J",
    "\x85",
)
SEPARATOR = b"\n# --set "
KEYS = ("input", "output", "selection", "graph.recall", "filters", "embedding.model", "ray", "selections.a", "concepts")


class Configurations(Kind):
    """Loads configurations as `filtering run` does. Behind a separator, an input holds its overrides."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.path = folder / "run.yaml"
        self.values = dict(_values())
        self.forms = {name: _text(name, value).encode() for name, value in self.values.items()}

    def make(self, noise: Noise) -> Input:
        """Change the text's bytes, or values and keys; in half of all cases add overrides."""
        form = noise.choice([*self.values])
        if noise.random() < 0.4:
            change, data = mutated(noise, self.forms[form], [*self.forms.values()])
        else:
            change, data = _changed(noise, self.values[form])
        if noise.random() < 0.5:
            overrides = [self._override(noise, form) for _ in range(noise.randint(1, 3))]
            data = SEPARATOR.join([data, *(one.encode("utf-8", "surrogatepass") for one in overrides)])
        return Input(form, change, data)

    def read(self, given: Input) -> str:
        """Load it; what is accepted must give itself again when it is written and read."""
        text, *overrides = given.data.split(SEPARATOR)
        self.path.write_bytes(text)
        words = [one.decode("utf-8", "surrogateescape") for one in overrides]
        config = load_config(str(self.path), words, [check_model, check_presence])
        again = parse_config(json.loads(json.dumps(config.resolved())))
        must(again.resolved() == config.resolved(), "another configuration when it is written and read again")
        must(again.digest() == config.digest(), "another digest when it is written and read again")
        return ACCEPTED

    def _override(self, noise: Noise, form: str) -> str:
        place = noise.choice([*places(self.values[form])])
        key = ".".join(map(str, place)) if place and noise.random() < 0.8 else noise.choice(KEYS)
        value = noise.choice([*TEXTS, *(str(edge) for edge in EDGES), "0.5", "[]", "{}", "auto", "null"])
        word = f"{key}={value}"
        return word if noise.random() < 0.8 else mutated(noise, word.encode())[1].decode("utf-8", "surrogateescape")


def _values() -> Iterator[tuple[str, dict[str, Any]]]:
    tars, metadata = (
        {"input": {"shards": "/"}, "output": "runs/a"},
        {"input": {"metadata": ["/"]}, "output": "runs/{date}"},
    )
    yield "every key", json.loads(json.dumps(Config.model_validate(tars | {"embedding": {"model": "demo"}}).resolved()))
    yield "minimal", metadata
    filters = [
        {"caption": {"min_words": 2, "min_characters": 5, "max_characters": 400}},
        {"image": {"min_side": 200, "max_aspect": 3.0}},
        {"language": {"keep": ["en", "no"], "least": 0.5}},
        {"words": {"list": "imagenet"}},
        {"clip_score": {"keep": 0.5}},
        {"clip_score": {"threshold": 0.28}},
    ]
    yield "filters", metadata | {"filters": filters}
    steps = [{"method": "semdedup"}, {"method": "d2", "keep": 0.3, "budget": "complexity"}]
    yield (
        "steps",
        metadata
        | {"selection": {"steps": steps}, "selections": {"a": {"method": "top"}, "b": steps, "c": {"all": ["a", "b"]}}},
    )
    yield (
        "score",
        metadata | {"selection": {"method": "top", "score": {"table": "s.parquet", "column": "x"}, "keep": 1000}},
    )
    yield (
        "norm_sim",
        metadata
        | {"selection": {"method": "top", "score": {"norm_sim": {"targets": "targets.npy"}}, "per": "increment"}},
    )
    for method in ("auto", *METHODS):
        yield f"method {method}", metadata | {"selection": {"method": method}}
    yield "variant paper", metadata | {"selection": {"method": "d2", "variant": "paper"}}
    rest = {"base": "latest", "retention": {"keep_runs": 3}, "notify": {"url_env": "HOOK", "when": ["failure"]}}
    yield (
        "rest",
        tars
        | rest
        | {"embedding": {"model": "ViT-B-32-quickgelu", "pretrained": "openai", "preprocessing": {"mean": [0.5] * 3}}},
    )
    yield (
        "ray",
        metadata
        | {"ray": {"address": "none", "num_cpus": 2, "gpus_per_search": 0.5}, "graph": {"k": 5, "recall": 0.9}},
    )


def _text(name: str, value: dict[str, Any]) -> str:
    """Return YAML in one of its styles."""
    if name == "filters":
        return json.dumps(value)
    if name == "steps":
        return yaml.safe_dump(value, default_flow_style=None)  # with anchors, since steps are named twice
    return f"# {name}\n{yaml.safe_dump(value, sort_keys=False)}"


def _changed(noise: Noise, value: dict[str, Any]) -> tuple[str, bytes]:
    """Return the text of a configuration with other values, keys, or values that only YAML can write."""
    how, every = noise.choice(["values", "values", "keys", "texts", "texts", "entire"]), [*places(value)][1:]
    found: Any = value
    if how == "entire":
        return how, noise.choice([*ENTIRE, *TEXTS]).encode("utf-8", "surrogatepass")
    if how == "keys":
        return how, json.dumps(_other_key(noise, value, noise.choice(every))).encode()
    if how == "texts":
        text = json.dumps(changed(value, noise.choice(every), "@@"))
        return how, text.replace('"@@"', noise.choice(TEXTS)).encode("utf-8", "surrogatepass")
    for _ in range(noise.randint(1, 3)):
        every = [*places(found)][1:]
        found = (
            changed(found, noise.choice(every), noise.choice([*WRONG, *EDGES, "auto", 0.5, ["x"], {"a": 1}]))
            if every
            else found
        )
    return how, json.dumps(found).encode()


def _other_key(noise: Noise, value: dict[str, Any], place: Place) -> Any:
    """Return a configuration in which a key has another name, or an entry is repeated."""
    inner: Any = value
    for part in place:
        inner = inner[part]
    *above, last = place
    name = noise.choice(
        [str(last) + "s", str(last)[:-1], str(last).upper(), "", "a.b", "[settings]", "x" * 3000, "\x1b[2J", "7"]
    )
    return (
        changed(changed(value, place, DELETED), (*above, name), inner)
        if isinstance(last, str)
        else value | {name: inner}
    )
