"""Names of what a pool says of its samples (`input.fields`)."""

# The column of a field, beside the rows of an embedded shard.
FIELD = "field:{}"
# The field of img2dataset and DataComp with the boxes of faces.
FACES = "face_bboxes"
