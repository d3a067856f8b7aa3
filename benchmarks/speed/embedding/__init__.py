"""The embedding stage against its two limits: the bare forward, and decoding alone."""
