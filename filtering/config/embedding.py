"""The `embedding` section of the configuration: the models that embed the samples of tars."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from filtering.config.limits import MAX_IMAGE_BYTES, MAX_PIXELS
from filtering.config.preprocessing import Preprocessing
from filtering.config.types import Positive, Section, Signal, without_empty

# The name of a further encoder: a part of the names of its objects.
# Not those of other objects of a shard.
TAKEN = ("concepts", "image", "masked", "offsets", "quarantined", "rows", "signals", "text")


def _free(name: str) -> str:
    if name in TAKEN:
        raise ValueError(f"{name} is the name of something else; choose another name for the encoder")
    return name


EncoderName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$"), AfterValidator(_free)]


class Encoder(Section):
    """A further model whose towers embed the samples of tars in the same pass; one of images alone will do."""

    model: str = Field(
        description="an open_clip model as in embedding.model, timm:NAME, or the path of a TorchScript file (.ts)"
    )
    pretrained: str | None = Field(None, description="an open_clip tag or the path of a checkpoint")
    weights: str | None = Field(None, description="the path of a checkpoint that belongs to the tag in pretrained")
    preprocessing: Preprocessing = Field(Preprocessing(), description="a mapping such as {mean: [0.5, 0.5, 0.5]}")


class Embedding(Section):
    """The CLIP model that embeds the samples of tars; unused where rows come with vectors."""

    model: str = Field(
        "ViT-B-32",
        description="demo, an open_clip model name, local-dir:FOLDER, hf-hub:OWNER/NAME, or the path of a model config",
    )
    pretrained: str | None = Field(None, description="an open_clip tag or the path of a checkpoint")
    weights: str | None = Field(None, description="the path of a checkpoint that belongs to the tag in pretrained")
    preprocessing: Preprocessing = Field(Preprocessing(), description="a mapping such as {mean: [0.5, 0.5, 0.5]}")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto, cpu or cuda")
    precision: Literal["auto", "fp32", "fp16", "bf16"] = Field("auto", description="auto, fp32, fp16 or bf16")
    batch_size: Positive = Field(256, description="a positive whole number of images")
    text_batch_size: Positive = Field(1024, description="a positive whole number of captions")
    decoding: Literal["draft", "exact"] = Field("draft", description="draft or exact")
    max_pixels: Positive = Field(MAX_PIXELS, description="a positive whole number of pixels")
    max_image_bytes: Positive = Field(MAX_IMAGE_BYTES, description="a positive whole number of bytes")
    compile: bool = Field(False, description="true or false", strict=True)
    encoders: dict[EncoderName, Encoder] = Field(
        {}, description="a mapping from names to models such as {dino: {model: 'timm:NAME', pretrained: FILE}}"
    )
    signals: tuple[Signal, ...] = Field(
        (),
        description="a list of what is computed of each picture for filters and scores: phash, pixel_hash, blur, "
        "luminance, entropy, text_share, masked_clip_score (the last two need: pip install rapidocr onnxruntime)",
    )

    @model_serializer(mode="wrap")
    def _plain(self, nested: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_empty(nested(self), "signals", "encoders")

    @field_validator("signals")
    @classmethod
    def _each_once(cls, signals: tuple[Signal, ...]) -> tuple[Signal, ...]:
        return tuple(sorted(set(signals)))
