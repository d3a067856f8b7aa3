"""The pool of a run: tars of pictures and captions, or rows that come with vectors."""

from typing import Any, Literal, get_args

from pydantic import (
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from filtering.config.types import Section, without_empty
from filtering.core.uid_rule import UidRule, Uids, canonical_url

Urls = str | tuple[str, ...]
# Of a field, which is a part of the name of a column.
LONGEST_NAME = 200
Kind = Literal["shards", "metadata", "clip_retrieval", "tables"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Arrays(Section):
    """Names of the arrays in DataComp's npz files."""

    image: str = Field("l14_img", description="the name of an array in the npz files")
    text: str = Field("l14_txt", description="the name of an array in the npz files")


class Folders(Section):
    """Names of the folders of vectors in a folder that clip-retrieval wrote."""

    image: str = Field("img_emb", min_length=1, description="the name of the folder of img_emb_N.npy")
    text: str = Field("text_emb", min_length=1, description="the name of the folder of text_emb_N.npy")


class Columns(Section):
    """Names of the columns of tables; those of vectors are lists of numbers."""

    image: str = Field(min_length=1, description="the name of the column of image vectors")
    text: str = Field(min_length=1, description="the name of the column of caption vectors")
    caption: str | None = Field(None, min_length=1, description="the name of a column; text or caption without it")
    uid: str | None = Field(None, min_length=1, description="the name of a column of 32 hex digits; uid without it")
    key: str | None = Field(None, min_length=1, description="the name of a column; key without it")
    url: str | None = Field(None, min_length=1, description="the name of a column; url without it")
    width: str | None = Field(None, min_length=1, description="the name of a column; original_width without it")
    height: str | None = Field(None, min_length=1, description="the name of a column; original_height without it")

    def given(self) -> dict[str, str]:
        """Return the columns of rows that are named, those of vectors aside."""
        named = self.model_dump(exclude={"image", "text"})
        return {name: column for name, column in named.items() if column is not None}


class Input(Section):
    """The pool: webdataset shards, or rows with vectors: DataComp metadata, clip-retrieval's folders, or tables."""

    shards: Urls | None = Field(None, description="a path, URL, brace range, glob, directory, or a list of them")
    metadata: Urls | None = Field(None, description="a path, URL, brace range, glob, directory, or a list of them")
    arrays: Arrays = Field(Arrays(), description="a mapping with image and text")
    clip_retrieval: Urls | None = Field(
        None, description="a folder that clip-retrieval wrote, the parquet files of its metadata, or a list of them"
    )
    folders: Folders = Field(Folders(), description="a mapping with image and text")
    tables: Urls | None = Field(None, description="a path, URL, brace range, glob, directory, or a list of them")
    columns: Columns | None = Field(
        None, description="a mapping such as {image: image_embedding, text: text_embedding}"
    )
    uids: Uids = Field("url", description="url or name: what the uids of samples that bring none follow from")
    root: str | None = Field(
        None, min_length=1, description="the path or URL of the folder below which uids follow from URLs"
    )

    fields: tuple[str, ...] = Field(
        (),
        description="a list of fields of JSON, or columns of tables, that filters and scores read: of numbers, such as "
        "punsafe, or face_bboxes",
    )

    @model_serializer(mode="wrap")
    def _plain(self, nested: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_empty(nested(self), "fields")

    @field_validator("fields")
    @classmethod
    def _each_once(cls, fields: tuple[str, ...]) -> tuple[str, ...]:
        if not all(fields):
            raise ValueError("the name of a field is empty")
        if odd := [name for name in fields if len(name) > LONGEST_NAME or not name.isprintable()]:
            raise ValueError(f"{odd[0][:40]!r} is no name of a field; give at most {LONGEST_NAME} printable characters")
        return tuple(sorted(set(fields)))

    @field_validator("root")
    @classmethod
    def _spelled(cls, root: str | None) -> str | None:
        return None if root is None else canonical_url(root)

    _concepts: str = PrivateAttr("")

    @property
    def concepts(self) -> str:
        """The array, folder or column of the vectors of concepts and graph; empty where they are those of the images.

        The configuration names it as `concepts.embedding`; pictures have none.
        """
        return self._concepts

    def with_concepts(self, name: str | None) -> "Input":
        """Return the section with other vectors for concepts and graph, if they are named and rows come with any."""
        if name is None or self.has_pictures:
            return self
        found = self.model_copy()
        found._concepts = name
        return found

    @property
    def uid_rule(self) -> UidRule:
        """How samples that bring no uid get theirs."""
        return UidRule(self.uids, self.root)

    @model_validator(mode="after")
    def _root_is_read(self) -> "Input":
        if self.uids == "name" and self.root is not None:
            raise ValueError("give either input.uids: name or input.root, not both")
        return self

    @model_validator(mode="after")
    def _one_source(self) -> "Input":
        if len(self._given()) != 1:
            raise ValueError(
                "give one of input.shards (tars), input.metadata (DataComp), input.clip_retrieval (its folder) and "
                "input.tables (parquet with columns of vectors)"
            )
        return self

    @model_validator(mode="after")
    def _columns_are_of_tables(self) -> "Input":
        if self.tables is not None and self.columns is None:
            raise ValueError("input.tables needs input.columns, such as {image: image_embedding, text: text_embedding}")
        if self.tables is None and self.columns is not None:
            raise ValueError("input.columns names columns of input.tables, which is not given")
        return self

    @property
    def kind(self) -> Kind:
        """The key that names the pool."""
        return self._given()[0]

    @property
    def patterns(self) -> tuple[str, ...]:
        """What that key holds."""
        given: Urls = getattr(self, self.kind)
        return (given,) if isinstance(given, str) else given

    @property
    def table_patterns(self) -> tuple[str, ...]:
        """What names the pool's objects: of a folder that clip-retrieval wrote, the folder of its tables."""
        if self.kind != "clip_retrieval":
            return self.patterns
        return tuple(one if ".parquet" in one else f"{one.rstrip('/')}/metadata" for one in self.patterns)

    @property
    def has_pictures(self) -> bool:
        """Whether samples have pictures, which a model embeds; vectors come with the rows of all other pools."""
        return self.shards is not None

    def _given(self) -> list[Kind]:
        return [kind for kind in KINDS if getattr(self, kind) is not None]
