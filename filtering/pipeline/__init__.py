"""The stages in order: one run, a run after another, retention and notification."""
