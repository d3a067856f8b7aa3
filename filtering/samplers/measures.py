"""What a sampler wants to know of a batch, from its logits: the loss of each, whether it was right, and how sure."""

from typing import NamedTuple

import torch
from torch.nn.functional import cross_entropy


class Measures(NamedTuple):
    """A batch of m samples."""

    losses: torch.Tensor  # float (m,), with gradient: what is weighted and averaged for the step
    right: torch.Tensor  # bool (m,)
    confidence: torch.Tensor  # float (m,), the probability of the prediction, in [0, 1]


def class_measures(logits: torch.Tensor, labels: torch.Tensor) -> Measures:
    """Return the measures of a classification.

    Parameters
    ----------
    logits : float (m, classes)
        Of any float dtype; losses and probabilities are computed in float32.
    labels : int64 (m,)
        The class of each sample.

    Returns
    -------
    Measures
        The losses are cross entropies, and alone have a gradient.
    """
    confidence, predicted = logits.detach().float().softmax(dim=1).max(dim=1)
    return Measures(cross_entropy(logits.float(), labels, reduction="none"), predicted == labels, confidence)


def pair_measures(logits: torch.Tensor, labels: torch.Tensor | None = None) -> Measures:
    """Return the measures of image-text pairs: an image is classified among the captions of its batch.

    A pair is right where its own caption is the likeliest for its image. Its loss is CLIP's (Radford et al. 2021,
    arXiv 2103.00020), the mean of the cross entropies of its image among the captions and its caption among the images.

    Parameters
    ----------
    logits : float (m, m), images by captions, scaled
        Or (m, b), b > m, where captions are gathered from all ranks; the loss is then that of the images alone,
        to which the loop adds that of the captions.
    labels : int64 (m,)
        Which caption is an image's own; by default the diagonal.

    Returns
    -------
    Measures
        Whether an image is right, and how sure, is told of it among the captions alone.
    """
    labels = torch.arange(len(logits), device=logits.device) if labels is None else labels
    images = class_measures(logits, labels)
    if logits.shape[0] != logits.shape[1]:
        return images
    captions = cross_entropy(logits.float().T, labels.argsort(), reduction="none")[labels]
    return images._replace(losses=(images.losses + captions) / 2)
