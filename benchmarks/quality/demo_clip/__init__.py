"""The CLIP of `model: demo`: its training, and what it can do."""
