"""Manifests: which samples are kept, dropped and quarantined; the check of a run; exports for trainers."""
