"""What a selection is worth: what a model learns from it, and how well it covers the pool."""
