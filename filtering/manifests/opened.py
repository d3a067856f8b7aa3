"""A finished run as a user of the package opens it: its summary, and its tables as pyarrow datasets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow.fs import FSSpecHandler, PyFileSystem

from filtering.core import schemas
from filtering.core.places import PathOrUrl
from filtering.manifests.artifacts import Kind, table_name, weighed
from filtering.manifests.written import WrittenManifest
from filtering.runtime.latest import run_url
from filtering.runtime.run_record import RunRecord, check_same, mark_of, read_run
from filtering.storage.store import Store, filesystem_of


@dataclass(frozen=True, slots=True)
class OpenedRun:
    """A finished run.

    Attributes
    ----------
    url : str
        Its directory.
    summary : dict
        Its run.json: totals, reasons, the resolved configuration, hashes, and what each stage took.
    """

    url: str
    summary: RunRecord

    def kept(self) -> ds.Dataset:
        """Return the kept samples.

        Returns
        -------
        pyarrow.dataset.Dataset
            Columns uid, key, shard (strings), concept (int32), score (float32) and rank (int64), with weights also
            repeat (int32); nothing is read yet.

        Raises
        ------
        InputError
            If the run was made again, with other results, since it was opened; also where the dataset is read later.
        """
        return self._dataset("kept", schemas.REPEATED if weighed(self.summary["config"]) else schemas.KEPT)

    def dropped(self) -> ds.Dataset:
        """Return the dropped samples.

        Returns
        -------
        pyarrow.dataset.Dataset
            Columns uid, key, shard and reason (strings); nothing is read yet.

        Raises
        ------
        InputError
            If the run was made again, with other results, since it was opened; also where the dataset is read later.
        """
        return self._dataset("dropped", schemas.DROPPED)

    def quarantined(self) -> ds.Dataset:
        """Return the samples that could not be used.

        Returns
        -------
        pyarrow.dataset.Dataset
            Columns shard, member, key, reason and detail (strings); nothing is read yet.

        Raises
        ------
        InputError
            If the run was made again, with other results, since it was opened; also where the dataset is read later.
        """
        return self._dataset("quarantined", schemas.QUARANTINED)

    def _dataset(self, kind: Kind, schema: pa.Schema) -> ds.Dataset:
        store = Store(self.url)
        check_same(store, mark_of(self.summary))
        filesystem, _ = filesystem_of(self.url)
        manifest = WrittenManifest(store, self.summary)
        # By name rather than by listing: whatever else lies there does not belong to the run.
        names = [table_name(kind, index) for index in range(len(manifest.shard_lines()))]
        # What is missing of the checksums is said now, and not where the dataset is read.
        tables = {filesystem_of(store.path(name))[1]: name for name in names if manifest.checksum(name)}
        return ds.dataset(list(tables), schema, "parquet", PyFileSystem(_Handler(filesystem, manifest, tables)))


class _Handler(FSSpecHandler):  # type: ignore[misc]
    """Opens the tables of a run, names by path, as long as they are those of the run that was opened."""

    def __init__(self, filesystem: Any, manifest: WrittenManifest, tables: Mapping[str, str]) -> None:
        super().__init__(filesystem)
        self.manifest, self.tables = manifest, tables

    def open_input_file(self, path: str) -> pa.BufferReader:
        """Return a table, read whole; InputError if the run has other results by now, DamagedError if it changed."""
        return pa.BufferReader(self.manifest.read(self.tables[path]))


def open_run(url: PathOrUrl) -> OpenedRun:
    """Open a finished run.

    Parameters
    ----------
    url : str or path-like
        Its directory, a path or URL; `ROOT/latest` is the newest verified run under ROOT.

    Returns
    -------
    OpenedRun
        Its summary is read, its tables are not.

    Raises
    ------
    InputError
        If there is no finished run.
    """
    store = Store(run_url(url))
    return OpenedRun(store.url, read_run(store))
