"""Names of columns beside the rows of embedded shards: of what a pool says, and of further CLIP scores."""

# The column of a field, beside the rows of an embedded shard.
FIELD = "field:{}"
# The field of img2dataset and DataComp with the boxes of faces.
FACES = "face_bboxes"
# The CLIP score by each further encoder that has a text tower (`embedding.encoders`); MASKED is the model's own score
# of the picture without its text (the signal of that name).
ENCODER_SCORE = "clip_score:{}"
MASKED, MASKED_SIGNAL = "masked", "masked_clip_score"


def score_column(of: str | None) -> str:
    """Return the column of the CLIP score by a further encoder, of masked pictures, or by the model itself."""
    return "clip_score" if of is None else ENCODER_SCORE.format(of)
