"""Runs in which something dies: their manifests and the seconds lost."""
