"""A run's configuration: sections, types, validation."""
