"""Encoders of images alone: models of timm, and TorchScript files; nothing is loaded here."""

from filtering.config.embedding import Embedding
from filtering.core.errors import InputError
from filtering.embedding.local_weights import local_file, local_weights
from filtering.embedding.normalised import merged

TIMM = "timm:"
# A TorchScript file holds code besides weights, which is run; so it is named as a model and never as weights.
TORCHSCRIPT = (".ts", ".torchscript")
MODEL, PRETRAINED = "embedding.model", "embedding.pretrained"


def embeds_images_alone(model: str) -> bool:
    """Return whether a model of this name has no text tower."""
    return model.startswith(TIMM) or model.endswith(TORCHSCRIPT)


def weights_of_images(settings: Embedding) -> tuple[str, str, str]:
    """Return the path of an image encoder's weights, empty for timm's own, their key, and what is guessed of them.

    InputError if they are not there, or keys are given that such an encoder does not have.
    """
    if settings.weights is not None:
        raise InputError(f"embedding.weights: is for the weights of a tag of open_clip; {settings.model} has none")
    if settings.model.startswith(TIMM):
        given = settings.pretrained
        return "" if given is None else local_weights(PRETRAINED, given), PRETRAINED, ""
    if settings.pretrained is not None:
        raise InputError(f"embedding.pretrained: {settings.model} has its own weights; leave it out")
    if settings.preprocessing.image_size is None:
        raise InputError(
            f"embedding.preprocessing.image_size: is missing; {settings.model} does not say how many pixels it takes"
        )
    guess = (
        f"{MODEL}: {settings.model} does not say how images are preprocessed for it; they are by open_clip's default "
        f"({merged({}, settings.preprocessing)}) unless embedding.preprocessing says otherwise"
    )
    given_all = settings.preprocessing.mean is not None and settings.preprocessing.std is not None
    return local_file(MODEL, settings.model), MODEL, "" if given_all else guess
