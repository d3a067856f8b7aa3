"""Codes of a sparse autoencoder of image vectors: a few of many features each."""

import numpy as np
import torch
from torch import Tensor, nn

from filtering.embedding.artifacts import unit_rows
from filtering.scores.centred import Float32Array

# Of which each code has the largest; and of the training.
FEATURES, AT_ONCE = 768, 12
STEPS, BATCH, RATE = 1_500, 512, 2e-3


class SparseAutoencoder(nn.Module):
    """Linear towers to the features and back; all but the largest features are 0 (Gao et al., arXiv 2406.04093)."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(dimension, FEATURES), nn.Linear(FEATURES, dimension)

    def codes(self, vectors: Tensor) -> Tensor:
        """Return the features of vectors (n, d), (n, FEATURES)."""
        largest = torch.relu(self.encoder(vectors)).topk(AT_ONCE, dim=1)
        return torch.zeros(len(vectors), FEATURES).scatter(1, largest.indices, largest.values)


def sparse_codes(vectors: Float32Array) -> Float32Array:
    """Return the codes of vectors, float32 (n, d), scaled to length 1, float32 (n, FEATURES)."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    centred = torch.from_numpy(vectors - vectors.mean(axis=0))
    centred /= centred.norm(dim=1).mean()
    model = SparseAutoencoder(vectors.shape[1])
    adam = torch.optim.Adam(model.parameters(), RATE)
    for _ in range(STEPS):
        batch = centred[torch.randint(len(centred), (BATCH,))]
        loss = (model.decoder(model.codes(batch)) - batch).square().sum(dim=1).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    with torch.no_grad():
        found = [model.codes(part).numpy() for part in torch.split(centred, 4_096)]
    return unit_rows(np.concatenate(found))
