"""Random damage to everything that is read."""
