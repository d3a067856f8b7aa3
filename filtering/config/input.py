"""The pool of a run: tars of pictures and captions, or DataComp metadata."""

from pydantic import Field, field_validator, model_validator

from filtering.config.types import Section
from filtering.core.uid_rule import UidRule, Uids, canonical_url

Urls = str | tuple[str, ...]


class Arrays(Section):
    """Names of the arrays in DataComp's npz files."""

    image: str = Field("l14_img", description="the name of an array in the npz files")
    text: str = Field("l14_txt", description="the name of an array in the npz files")


class Input(Section):
    """The pool: either webdataset shards or DataComp metadata."""

    shards: Urls | None = Field(None, description="a path, URL, brace range, glob, directory, or a list of them")
    metadata: Urls | None = Field(None, description="a path, URL, brace range, glob, directory, or a list of them")
    arrays: Arrays = Field(Arrays(), description="a mapping with image and text")
    uids: Uids = Field("url", description="url or name: what the uids of samples that bring none follow from")
    root: str | None = Field(
        None, min_length=1, description="the path or URL of the folder below which uids follow from URLs"
    )

    @field_validator("root")
    @classmethod
    def _spelled(cls, root: str | None) -> str | None:
        return None if root is None else canonical_url(root)

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
        if (self.shards is None) == (self.metadata is None):
            raise ValueError("give either input.shards (tars) or input.metadata (DataComp), one of the two")
        return self
