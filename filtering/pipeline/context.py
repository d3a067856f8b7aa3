"""One run on its way through the stages."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from filtering.concepts.artifacts import ConceptsResult
from filtering.config.run import Config
from filtering.embedding.artifacts import EmbeddingResult
from filtering.filters.artifacts import FiltersResult, PassingShard
from filtering.graph.artifacts import GraphResult
from filtering.pipeline.unchanged import InBase, stage_in_base
from filtering.runtime.finished_run import Reusable
from filtering.runtime.run_record import RunRecord, StageCost
from filtering.runtime.stage import Finished, Runtime, StageKey, StageResult, StageRun
from filtering.scores.artifacts import GraphSource
from filtering.scores.registry import Spec, side_of
from filtering.scores.stage import INPUTS
from filtering.selection.artifacts import Pool
from filtering.shards.inventory import Shard
from filtering.shards.vectors import Side
from filtering.storage.store import digest

S = TypeVar("S", bound=StageResult)
OTHER = "of another pool or configuration"


def inventory_key(shards: Sequence[Shard]) -> StageKey:
    """Return the identity of the pool."""
    return StageKey("inventory", 1, [shard.plain() for shard in shards])


def run_id(config: Config, shards: Sequence[Shard]) -> str:
    """Return what identifies a run: the hash of its configuration and its pool."""
    return digest([config.digest(), inventory_key(shards).fingerprint])


def difference(record: RunRecord, config: Config, shards: Sequence[Shard], sources: Mapping[str, str]) -> str:
    """Return in words what tells a finished run from one of a configuration, pool and sources; nothing if none does.

    Of what the runs of older versions have read, nothing is known but the pool.
    """
    if record["run_id"] != run_id(config, shards):
        return OTHER
    before = record.get("sources", sources)
    changed = sorted(name for name in before.keys() | sources.keys() if before.get(name) != sources.get(name))
    return f"from before {changed[0]} was written again" if changed else ""


@dataclass(frozen=True, slots=True)
class RunContext:
    """What every part of a run shares, and the stages that have finished."""

    config: Config
    runtime: Runtime
    shards: tuple[Shard, ...]  # the pool, in the order of the inventory
    reusable: Reusable | None = None  # what a base has of it
    sources: Mapping[str, str] = field(default_factory=dict)  # what else it reads, see `sources_of`
    avoided: frozenset[str] = frozenset()  # folders of other runs' embeddings in which something is damaged
    finished: list[Finished[Any]] = field(default_factory=list)  # in order; `take` appends to it
    # Fingerprints of stages, and of the base's whose content is the same; `take` and `note_alike` add to it
    alike: dict[str, str] = field(default_factory=dict)

    def stage(self, key: StageKey) -> StageRun:
        """Return a stage of this run."""
        return StageRun(self.runtime, key)

    def take(self, key: StageKey, result: type[S], body: Callable[[StageRun], S]) -> Finished[S]:
        """Return a finished stage, run now if it has not been; see `StageRun.run`."""
        done = self.stage(key).run(result, body)
        self.finished.append(done)
        return done

    def take_unchanged(
        self,
        key: StageKey,
        result: type[S],
        body: Callable[[StageRun], S],
        now: Callable[[S], S] = lambda found: found,
        copy: Callable[[StageRun, InBase], bool] = lambda stage, there: there.copy(stage),
    ) -> Finished[S]:
        """Return what `take` does, copied from the base where that has a stage of the same inputs and settings.

        `now` returns the base's result as that of this run; `copy` says whether it could copy what the stage wrote.
        """
        if (there := self.in_base(key)) is None:
            return self.take(key, result, body)
        self.note_alike(key.fingerprint, there.fingerprint)

        def taken(stage: StageRun) -> S:
            found = there.result(result)
            return body(stage) if found is None or not copy(stage, there) else now(found)

        return self.take(key, result, taken)

    def in_base(self, key: StageKey) -> InBase | None:
        """Return the stage of the base of the same inputs and settings; None if there is none."""
        return stage_in_base(key, self.reusable, self.alike)

    def note_alike(self, own: str, there: str) -> None:
        """Note that a stage's content is that of a stage of the base, by their fingerprints."""
        self.alike[own] = there

    def costs(self) -> list[StageCost]:
        """Return what each stage took, in order."""
        return [stage.cost for stage in self.finished]

    def folders(self) -> dict[str, str]:
        """Return the folder of each stage's objects by its name, relative to the run; of several the last one's."""
        return {stage.key.name: stage.key.folder for stage in self.finished}


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """The finished concepts and graph of one side of the pairs: of their images, or of their captions."""

    concepts: Finished[ConceptsResult]
    graph: Finished[GraphResult]

    def source(self) -> GraphSource:
        """Return what a score reads of the graph."""
        return GraphSource(self.graph.store, self.concepts.result.partitions)


@dataclass(frozen=True, slots=True)
class SelectionInputs:
    """The finished stages that selection reads."""

    shards: tuple[PassingShard, ...]  # the pool's shards after the filters
    embedding: Finished[EmbeddingResult]
    filters: Finished[FiltersResult]
    images: Neighbourhood
    texts: Neighbourhood | None  # none where no score reads the captions' neighbours

    @property
    def dimension(self) -> int:
        """The dimension of the vectors of images and captions; concepts may be of others."""
        return self.embedding.result.dimension or self.concepts.result.dimension

    @property
    def concepts(self) -> Finished[ConceptsResult]:
        """The concepts of images, in which samples are selected."""
        return self.images.concepts

    @property
    def graph(self) -> Finished[GraphResult]:
        """The graph of images."""
        return self.images.graph

    def pool(self) -> Pool:
        """Return what every step of selection reads."""
        return Pool(self.shards, self.concepts.store, self.graph.store, self.concepts.result.partitions)

    def graphs(self) -> dict[Side, GraphSource]:
        """Return what scores read of the graphs."""
        found: dict[Side, GraphSource] = {"image": self.images.source()}
        return found if self.texts is None else found | {"text": self.texts.source()}

    def fingerprints_of(self, spec: Spec) -> tuple[str, ...]:
        """Return the fingerprints of the stages that a score follows from, its parts apart."""
        if side_of(spec) == "text":
            assert self.texts is not None, f"{spec.name} reads the captions' neighbours"
            # The median edge of images says which images are the same.
            return (self.texts.graph.fingerprint, self.graph.fingerprint)
        # Values of the user's are asked for only of samples that pass the filters.
        stage: Finished[Any] = getattr(self, "filters" if spec.given else INPUTS[spec.scorer.kind])
        return (stage.fingerprint,)
