"""A small DataComp: what a model learns from the pairs that each filter keeps."""
