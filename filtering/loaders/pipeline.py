"""A webdataset pipeline over the pool's own shards that yields what a run kept."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import webdataset
from webdataset.compat import FluidInterface

from filtering.core.arguments import COUNT, FUNCTION, TEXT, WHOLE, check_arguments
from filtering.core.errors import InputError
from filtering.core.places import PathOrUrl, as_text
from filtering.core.secrets import refused_secret
from filtering.loaders.order import Epochs, Order, Seat, checked_weights, this_node, this_seat
from filtering.loaders.reader import FOUND, FoundOffsets, KeptPool, OnChanged, Reader, Sample, read_pool
from filtering.manifests.places import check_apart
from filtering.runtime.latest import run_url
from filtering.storage.outputs import check_utf8
from filtering.storage.store import Store, absolute


class KeptSource:
    """The first stage of the pipeline: each call is this process's part of the next epoch.

    The next sample is drawn among `shuffle` of them; 0 leaves them in order.
    """

    def __init__(self, pool: KeptPool, order: Order, reader: Reader, shuffle: int) -> None:
        self.pool, self.order, self.reader, self.shuffle = pool, order, reader, shuffle
        self.epochs = Epochs()
        self._node: tuple[int, int] | None = None

    def __getstate__(self) -> dict[str, object]:
        # A worker that is spawned does not know the process group of the loop.
        return self.__dict__ | {"_node": this_node() or self._node}

    def __call__(self) -> Iterator[Sample]:
        """Return the samples of the next epoch that this node and worker read."""
        seat = this_seat(self._node)
        epoch = self.epochs.begin(seat)
        self._warn_of_idle(seat)
        samples = self.reader.samples(self.order.shards(self.pool.visits, epoch, seat))
        if self.shuffle < 1:
            return samples
        generator = self.order.generator(epoch, seat, "samples")
        mixed: Iterator[Sample] = webdataset.filters.shuffle(self.shuffle, rng=generator)(samples)
        return mixed

    def _warn_of_idle(self, seat: Seat) -> None:
        shards = len(self.pool.visits)
        if seat.first and seat.seats > shards and not self.order.resampled:
            line = (
                f"{shards} shards keep anything, but {seat.nodes} nodes x {seat.workers} workers read them: "
                f"{seat.seats - shards} workers get none; use fewer workers, or resampled=True"
            )
            warnings.warn(line, RuntimeWarning, stacklevel=2)


class KeptPipeline(webdataset.DataPipeline, FluidInterface):  # type: ignore[misc]
    """A webdataset pipeline, to be continued with ``decode``, ``to_tuple``, ``batched``, ``with_epoch``, ...

    It has no ``len``, as no iterable dataset that several workers read has; `samples` is the number of samples.

    Parameters
    ----------
    source : KeptSource
        The first stage; `kept_pipeline` makes it.
    """

    def __init__(self, source: KeptSource) -> None:
        super().__init__(source)
        self.source = source

    @property
    def samples(self) -> int:
        """Samples that an epoch shows over all nodes, repeats among them; open_clip's ``--train-num-samples``."""
        return self.source.pool.samples

    @property
    def shard_urls(self) -> tuple[str, ...]:
        """The shards that keep anything, in the pool's order."""
        return tuple(source.shard.url for source in self.source.pool.sources)

    @property
    def epoch(self) -> Epochs:
        """The count of epochs, shared with workers; takes the place of open_clip's shared epoch."""
        return self.source.epochs

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch begins next, on every node the same: needed only where a training is resumed.

        Parameters
        ----------
        epoch : int
            Counted from 0.
        """
        check_arguments(epoch=(epoch, COUNT))
        self.epoch.set_value(epoch)

    def samples_of_node(self, epoch: int, rank: int | None = None, nodes: int | None = None) -> int:
        """Return how many samples a node reads in an epoch, this node if no other is named.

        Shards are dealt out whole, so nodes differ, and differ from epoch to epoch where shards are shuffled.

        Parameters
        ----------
        epoch : int
            Counted from 0.
        rank : int, optional
            The node, counted from 0; this one unless given.
        nodes : int, optional
            How many nodes there are; as many as there are now unless given.

        Returns
        -------
        int
            Kept samples of the node's shards, with their repeats, over all of its workers.
        """
        seat = this_seat()
        check_arguments(epoch=(epoch, COUNT), rank=(0 if rank is None else rank, COUNT), nodes=(nodes or 0, COUNT))
        rank, nodes = seat.rank if rank is None else rank, nodes or seat.nodes
        return sum(source.kept for source in self.source.order.of_node(self.source.pool.visits, epoch, rank, nodes))


def kept_pipeline(
    run: PathOrUrl,
    *,
    shuffle_shards: bool = False,
    shuffle: int = 0,
    seed: int = 0,
    resampled: bool = False,
    weights: Sequence[float] | Literal["kept"] | None = None,
    offsets: PathOrUrl | None = None,
    on_changed: OnChanged = "error",
    handler: Callable[[Exception], bool] = webdataset.reraise_exception,
) -> KeptPipeline:
    """Return a webdataset pipeline of the samples that a finished run kept, read from the pool's own tars.

    Samples are those of webdataset: ``__key__``, ``__url__`` and the bytes of each member by its extension. Shards are
    split over nodes (RANK and WORLD_SIZE, or torch.distributed), then over the workers of a DataLoader; in an epoch
    each kept sample comes once over all of them, or as often as the run's `weights` say. Shards of which nothing is
    kept are never opened, and what is not kept is passed unread where the shard lies on a disk.

    Shards are dealt out whole, so nodes and workers get different numbers of samples. A training in which all must make
    the same number of steps ends the epoch by it: ``batched(B, partial=False).with_epoch(N)``, where N is `samples`
    divided by B, nodes and workers; who has fewer samples then begins its next pass.

    Parameters
    ----------
    run : str or path-like
        The run's folder, the `output` of its configuration; it ran over tars.
    shuffle_shards : bool
        Take the shards in another order in every epoch, the same on all nodes.
    shuffle : int
        Samples that wait in memory, in each worker, for the next one to be drawn among them.
    seed : int
        With the epoch decides both orders.
    resampled : bool
        Draw shards with replacement, without end, each worker for itself; then `with_epoch` ends an epoch.
    weights : sequence of float, "kept" or None
        How often each shard that keeps anything is drawn. None is equally often: as a shard is read whole when it is
        drawn, every sample is then shown equally often. "kept" is in proportion to the samples it keeps, which shows
        samples of full shards more often than others.
    offsets : str or path-like, optional
        A folder, local or remote, for runs of older versions, which did not note where samples stand in their shards:
        when a shard has been read whole, the offsets of its kept samples are written there, and from then on only they
        are read.
    on_changed : str
        What is done with a shard that has another size or version than when the run read it, or is gone: ``error``
        raises, ``skip`` warns and goes on, ``read`` reads what has the kept keys.
    handler : callable
        As webdataset's handlers, for shards that are damaged or lack kept samples: ``webdataset.warn_and_continue``.

    Returns
    -------
    KeptPipeline
        Each pass through it, in each worker of a DataLoader, is its part of the next epoch.

    Raises
    ------
    InputError
        If no finished run is there, its input was DataComp metadata, it kept nothing, an argument is wrong, or
        `offsets` is inside a run's directory or where the pool is.
    """
    check_arguments(shuffle=(shuffle, WHOLE), on_changed=(on_changed, TEXT), handler=(handler, FUNCTION))
    given = as_text(offsets) if offsets else ""
    if line := refused_secret("offsets", given):
        raise InputError(line)
    check_utf8("offsets", given)
    store = Store(run_url(run))
    pool = read_pool(store)
    folder = absolute(given) if given else ""
    if folder:
        check_apart(folder, FOUND, store)
    if weights is not None and not resampled:
        raise InputError("weights: are those of resampling, so they want resampled=True")
    order = Order(shuffle_shards, seed, resampled, checked_weights(weights, pool.visits))
    found = FoundOffsets(Store(folder), pool.manifest_hash) if folder else None
    return KeptPipeline(KeptSource(pool, order, Reader(on_changed, handler, found), shuffle))
