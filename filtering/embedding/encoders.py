"""Further encoders of a tar's samples: the section that each would have alone, and checks before any work is done."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pydantic import Field

from filtering.config.embedding import Embedding
from filtering.config.input import Input
from filtering.config.run import Concepts
from filtering.config.types import Section
from filtering.config.validation import nearest
from filtering.core.errors import InputError, Mistakes
from filtering.core.fields import MASKED, MASKED_SIGNAL
from filtering.embedding.checkpoint import check_loads, model_files
from filtering.embedding.image_files import embeds_images_alone

# The keys that an encoder has of its own.
OWN = re.compile(r"\bembedding\.(?=(?:model|pretrained|weights|preprocessing)\b)")


class PinnedEmbedding(Embedding):
    """The section of a run that has begun: `contents` are those of the model's files then, see `model_contents`.

    `detector` is the identity of the detector of text, empty where none is asked for; `of_encoders` are the contents of
    the further encoders.
    """

    contents: tuple[str, ...] = Field(exclude=True)
    detector: str = Field("", exclude=True)
    of_encoders: dict[str, tuple[str, ...]] = Field({}, exclude=True)


def encoder_settings(settings: Embedding, name: str) -> Embedding:
    """Return the section that one of the further encoders would have alone; pinned if `settings` is."""
    own = {**dict(settings.encoders[name]), "encoders": {}}
    if isinstance(settings, PinnedEmbedding):
        own |= {"contents": settings.of_encoders[name], "of_encoders": {}}
    return settings.model_copy(update=own)


def check_encoders(sections: Mapping[str, Section]) -> None:
    """Refuse encoders that are not there, and concepts of none of them, of a configuration's valid sections."""
    source, settings, concepts = (sections.get(name) for name in ("input", "embedding", "concepts"))
    if not isinstance(source, Input) or not isinstance(settings, Embedding):
        return
    mistakes = Mistakes()
    with mistakes.collected():
        _check_use(source, settings)
    for name in settings.encoders if source.has_pictures else ():
        with mistakes.collected(), of_encoder(name):
            model_files(encoder_settings(settings, name))
    with mistakes.collected():
        if isinstance(concepts, Concepts) and source.has_pictures and concepts.embedding is not None:
            check_encoder_name("concepts.embedding", concepts.embedding, settings)
    mistakes.refuse()


def check_encoders_load(settings: Embedding) -> None:
    """Refuse encoders whose weights are not theirs, as `check_loads` does."""
    mistakes = Mistakes()
    for name in settings.encoders:
        with mistakes.collected(), of_encoder(name):
            check_loads(encoder_settings(settings, name))
    mistakes.refuse()


def check_encoder_name(key: str, name: str, settings: Embedding) -> None:
    """Refuse the name of an encoder that there is not, by an InputError with the key that names it."""
    if not settings.encoders:
        raise InputError(
            f"{key}: {name} is no encoder, embedding.encoders names none; add it there, such as "
            f"{{{name}: {{model: 'timm:vit_small_patch14_dinov2.lvd142m'}}}}"
        )
    if name not in settings.encoders:
        raise InputError(f"{key}: {name} is none of embedding.encoders{nearest(name, settings.encoders)}")


def check_scoring_encoder(name: str, settings: Embedding | None) -> None:
    """Refuse an encoder that scores no pairs: that is not there, or embeds images alone; InputError.

    `settings` is None for rows that come with vectors.
    """
    if name == MASKED and settings is not None:
        if MASKED_SIGNAL not in settings.signals:
            signals = ", ".join(sorted({*settings.signals, MASKED_SIGNAL}))
            raise InputError(
                f"of: {name} is the score of pictures without their text, which is not computed; set "
                f"embedding.signals to [{signals}] (pictures are then embedded again)"
            )
        return
    if settings is None:
        raise InputError(f"of: {name} is a model that embeds pictures, and the pool's rows come with vectors")
    check_encoder_name("of", name, settings)
    if embeds_images_alone(settings.encoders[name].model):
        raise InputError(f"of: {name} is {settings.encoders[name].model}, which embeds no captions; name a CLIP model")


@contextmanager
def of_encoder(name: str) -> Iterator[None]:
    """Let errors of the block name the keys of an encoder where they name those of the main model."""
    try:
        yield
    except InputError as error:
        raise InputError(*(line_of_encoder(name, str(line)) for line in error.args)) from error


def line_of_encoder(name: str, line: str) -> str:
    """Return a line with the keys of an encoder where it names those of the main model."""
    return OWN.sub(f"embedding.encoders.{name}.", line)


def _check_use(source: Input, settings: Embedding) -> None:
    if settings.encoders and not source.has_pictures:
        raise InputError(
            "embedding.encoders: models that embed pictures, and the pool's rows come with vectors; leave it out, and "
            "name an array, a folder or a column as concepts.embedding"
        )
