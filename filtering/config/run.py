"""The typed, frozen configuration of a run: read from YAML, overridden by --set; each mistake is refused in a line."""

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import (
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from filtering.config.aliases import renamed
from filtering.config.embedding import Embedding
from filtering.config.filters import Filter
from filtering.config.input import Input
from filtering.config.notify import Notify
from filtering.config.resolution import without_paper
from filtering.config.selection import Selection, Steps
from filtering.config.settings_file import read_settings
from filtering.config.types import (
    FOR_PEOPLE,
    Above0,
    Fraction,
    NoneOrShare,
    Positive,
    Section,
    Seed,
    Share,
    Whole,
    without_empty,
)
from filtering.config.validation import TOO_DEEP, explained, others, without_credentials
from filtering.config.weights import Weights
from filtering.core.errors import InputError, Mistakes
from filtering.core.places import PathOrUrl
from filtering.core.visible import visible
from filtering.storage.urls import NOT_WRITTEN, is_http

LOG = logging.getLogger(__name__)
# Keys that do not change the result. A base does not either: it only saves work.
UNDECISIVE = ("output", "ray", "base", "retention", "notify", "reuse_embeddings")


class Concepts(Section):
    """Concept clusters: spherical k-means over image embeddings."""

    embedding: str | None = Field(
        None,
        min_length=1,
        description="the name of one of embedding.encoders, or, of rows with vectors, of an array, a folder or a "
        "column: the image vectors of concepts and graph",
    )

    clusters: Literal["auto"] | Positive = Field("auto", description="auto or a positive whole number")
    seed: Seed = Field(0, description="a whole number, 0 or more")
    largest: Literal["auto"] | Positive = Field("auto", description="auto or a positive whole number of rows")
    partition_rows: Literal["auto"] | Positive = Field("auto", description="auto or a positive whole number of rows")
    centroids: str | None = Field(
        None, min_length=1, description="the path or URL of a run whose concepts are used, instead of training"
    )
    refit: bool = Field(False, description="true or false: train concepts again although there is a base", strict=True)
    drift: Above0 = Field(
        0.1, description="the share by which new samples may be farther from their centroids, above 0"
    )

    @model_serializer(mode="wrap")
    def _plain(self, nested: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_empty(nested(self), "embedding")

    @model_validator(mode="after")
    def _one_origin(self) -> "Concepts":
        if self.refit and self.centroids is not None:
            raise ValueError("give either concepts.centroids (a run's) or concepts.refit, not both")
        return self


class Graph(Section):
    """The kNN graphs: of images, and of captions where a score reads it."""

    k: Positive = Field(10, description="a positive whole number")
    text_k: Positive = Field(20, description="k of the graph of captions, a positive whole number")
    recall: Fraction = Field(0.97, description="the recall@k to aim at, a fraction above 0 and at most 1")
    mean_replicas: Above0 = Field(
        4.0, description="the maximum mean number of replicas of a sample in other concepts, a positive number"
    )
    max_replicas: Positive = Field(16, description="the maximum number of concepts a sample is assigned to, 1 or more")

    def of_texts(self) -> "Graph":
        """Return the section of the graph of captions: `text_k` is its k."""
        return self.model_copy(update={"k": self.text_k})

    def of_one_side(self) -> dict[str, Any]:
        """Return what decides one graph, with its k, as plain data."""
        return self.model_dump(mode="json", exclude={"text_k"})


class Ray(Section):
    """The cluster that runs the tasks, and how much of it they take."""

    address: str = Field(
        "auto", description="auto, local, none (in this process, without Ray), or the address of a Ray cluster"
    )
    num_cpus: Literal["auto"] | Positive = Field("auto", description="auto or the number of CPUs to use")
    embedders: Literal["auto"] | Positive = Field(
        "auto", description="auto or the maximum number of workers that hold the model"
    )
    gpus_per_embedder: Share = Field(1.0, description="a fraction of one GPU, above 0 and at most 1")
    gpus_per_search: NoneOrShare = Field(
        0.0, description="the fraction of one GPU that a neighbour search takes, from 0 to 1; 0 searches on CPUs"
    )
    decoders: Literal["auto"] | Whole = Field(
        "auto", description="auto or the number of decoding tasks per embedder, 0 or more"
    )


class Retention(Section):
    """The number of finished runs to keep. Older runs are deleted, except data that kept runs still reference."""

    keep_runs: Positive = Field(description="the number of finished runs to keep, this one included, 1 or more")


class Config(Section):
    """A run's whole configuration."""

    input: Input = Field(description="a mapping with shards, metadata, clip_retrieval or tables")
    output: str = Field(
        min_length=1, description="the path or URL of the run's directory; {date} stands for today's date in UTC"
    )
    base: str | None = Field(
        None, min_length=1, description="latest, or the path or URL of the run whose results are reused"
    )
    retention: Retention | None = Field(None, description="a mapping such as {keep_runs: 14}")
    reuse_embeddings: bool = Field(
        True, description="true or false: take over what a finished run beside the output has embedded", strict=True
    )
    notify: Notify | None = Field(None, description="a mapping such as {url_env: HOOK_URL}")
    embedding: Embedding = Field(Embedding(), description="a mapping")
    filters: tuple[Filter, ...] = Field((), description="a list such as [{clip_score: {keep: 0.5}}]")
    concepts: Concepts = Field(Concepts(), description="a mapping")
    graph: Graph = Field(Graph(), description="a mapping")
    selection: Selection = Field(Selection(), description="a mapping")
    weights: Weights | None = Field(None, description="a mapping such as {epoch: 2.0}")
    selections: dict[str, Steps] = Field(
        {}, description="a mapping from names to a step such as {method: top} or a list of steps"
    )
    ray: Ray = Field(Ray(), description="a mapping")

    _warnings: tuple[str, ...] = PrivateAttr(())

    @field_validator("output")
    @classmethod
    def _is_writable(cls, output: str) -> str:
        if is_http(output):
            raise ValueError(f"{output}: {NOT_WRITTEN}")
        return output

    @model_serializer(mode="wrap")
    def _given(self, nested: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out weights where there are none: records and hashes are those from before there were any."""
        found: dict[str, Any] = nested(self)
        return {key: value for key, value in found.items() if key != "weights" or value is not None}

    @property
    def pool(self) -> Input:
        """The section `input`, with the vectors of concepts and graph where those of the images are not meant."""
        return self.input.with_concepts(self.concepts.embedding)

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line for each former name of a key or value that was given."""
        return self._warnings

    def resolved(self) -> dict[str, Any]:
        """Return every key with its value, as plain data."""
        return self.model_dump(mode="json", context=FOR_PEOPLE)

    def digest(self) -> str:
        """Return a hash of all keys that change the result: those of `UNDECISIVE` do not."""
        decisive = {key: value for key, value in self.model_dump(mode="json").items() if key not in UNDECISIVE}
        decisive |= {key: without_paper(decisive[key]) for key in ("selection", "selections")}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


# Refuses what is wrong in the sections that are valid; not each of them is there.
Check = Callable[[Mapping[str, Section]], object]


def load_config(path: PathOrUrl, overrides: Sequence[str] = (), checks: Sequence[Check] = ()) -> Config:
    """Read a configuration and apply `--set KEY=VALUE` overrides; each former name in it is logged as a warning.

    Parameters
    ----------
    path : str or path-like
        A YAML file, by its path or URL.
    overrides : sequence of str
        Of the form KEY=VALUE each, such as selection.keep=0.3; the value is YAML.
    checks : sequence of callable
        Each is called with the sections that are valid, by name, and raises InputError for more that is wrong.

    Returns
    -------
    Config
        Checked, and with today's date (UTC) in place of {date} in `output`.

    Raises
    ------
    InputError
        A line for each mistake: the key or file, what is wrong, the nearest valid name.
    """
    settings = read_settings(path, overrides)
    # First, so that no other line repeats a secret.
    data, refused = without_credentials(settings.data)
    mistakes = Mistakes(settings.mistakes)
    with mistakes.collected():
        # First, so that an invalid value is not the only line where its key is called by another name.
        for line in renamed(data).lines:
            LOG.warning("filtering: %s", visible(line))
    with mistakes.collected():
        config = parse_config(data)
    for check in checks:
        with mistakes.collected():
            check(_valid_sections(data))
    Mistakes([*refused.values(), *others(mistakes.lines, refused)]).refuse()
    return config


def _valid_sections(data: Mapping[str, Any]) -> dict[str, Section]:
    """Return the sections in which nothing is wrong, those that are left out with their defaults."""
    found = dict[str, Section]()
    for name, field in Config.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            with contextlib.suppress(ValidationError, InputError):
                found[name] = kind.model_validate(renamed({name: data.get(name, {})}).data[name])
    return found


def parse_config(data: Mapping[str, Any]) -> Config:
    """Check plain data and return it as a `Config`; errors as in `load_config`.

    Parameters
    ----------
    data : mapping
        Keys and values as the YAML file holds them; nothing is replaced in them.

    Returns
    -------
    Config
        With the default of every key that is not given.
    """
    # First, so that no later message repeats a secret.
    plain, refused = without_credentials(data)
    mistakes = Mistakes(refused.values())
    try:
        with mistakes.collected():
            current = renamed(plain)
            config = Config.model_validate(current.data)
            config._warnings = current.lines
    except ValidationError as error:
        mistakes.lines += others(explained(error, Config, current.data), refused)
    except RecursionError:
        raise InputError(TOO_DEEP) from None
    mistakes.refuse()
    return config
