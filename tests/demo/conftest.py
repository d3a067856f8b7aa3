import io
import json
import tarfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from filtering.demo.pool import build_pool

PICTURES = 300


@dataclass
class BuiltPool:
    folder: Path
    truth: list[dict[str, object]]
    members: dict[str, dict[str, bytes]] = field(default_factory=lambda: defaultdict(dict))

    def of_kind(self, *kinds: str) -> list[dict[str, object]]:
        return [row for row in self.truth if row["kind"] in kinds]

    def metadata(self, key: object) -> dict[str, object]:
        return json.loads(self.members[str(key)]["json"])

    def image(self, key: object) -> io.BytesIO:
        return io.BytesIO(self.members[str(key)]["jpg"])


@pytest.fixture(scope="session")
def built_pool(tmp_path_factory: pytest.TempPathFactory) -> BuiltPool:
    folder = tmp_path_factory.mktemp("pool")
    build_pool(folder, seed=3, shards=4, limit=PICTURES)
    built = BuiltPool(folder, pq.read_table(folder / "truth.parquet").to_pylist())
    for path in sorted((folder / "pool").glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, extension = member.name.split(".")
                built.members[key][extension] = tar.extractfile(member).read()
    return built
