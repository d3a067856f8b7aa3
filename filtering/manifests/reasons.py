"""The reasons of the manifests in plain words."""

from collections.abc import Collection, Mapping, Sequence

from filtering.config.aliases import recorded_step
from filtering.config.methods import NoveltySettings
from filtering.runtime.run_record import StepRecord

Words = Mapping[str, tuple[str, str]]

# The package's own filters: a label, and the meaning of failing it.
FILTERS: Words = {
    "caption": ("Caption filter", "the caption is shorter or longer than the configuration allows"),
    "clip_score": ("CLIP-score filter", "image and caption match less than the configuration requires"),
    "exclude": (
        "Excluded",
        "a list names the sample, or its image is near a vector of the list",
    ),
    "blur": ("Blur filter", "the picture is more blurred than the configuration allows"),
    "column": ("Column filter", "a number that the pool has for it is outside of the configured bounds"),
    "head": ("Head filter", "the configured head gives its image a value outside of the bounds"),
    "text_share": ("Text filter", "text takes more of the picture than the configuration allows"),
    "faces": ("Faces filter", "the picture has more or larger faces than the configuration allows"),
    "entropy": ("Information filter", "the picture holds less information than the configuration requires"),
    "hash_duplicates": ("Repeated picture", "an earlier sample of the pool has nearly the same picture, by its hash"),
    "luminance": ("Brightness filter", "the picture is darker or brighter all over than the configuration allows"),
    "image": ("Image filter", "the image is smaller or more elongated than the configuration allows"),
    "language": ("Language filter", "the caption is not in a configured language"),
    "words": ("Word filter", "the caption contains no word of the configured list"),
}
UNSELECTED = ("Not selected", "passed every filter, but the budget of its concept was spent on other samples")
# The selectors: a label, and the meaning of not being picked.
STEPS: Words = {
    "all": UNSELECTED,
    "ccs": ("Not drawn", "the draw from its stratum of difficulty chose other samples"),
    "clip_powered": ("Not selected", "other samples match their captions better or are farther from their neighbours"),
    "d2": (
        "Not picked by D2",
        "passed every filter, but other samples of its concept have higher scores or already cover it",
    ),
    "density": ("Too central", "the budget of its concept was spent on samples farther from the centroid"),
    "flexrand": ("Not drawn", "the draw from easy and from hard samples chose other samples"),
    "hierarchical": ("Not drawn", "the draw, balanced over a hierarchy of concepts, chose other samples"),
    "metaclip": ("Not drawn", "many captions match the same entries, and the balanced draw chose other samples"),
    "moderate": ("Not in the middle", "the budget of its concept was spent on samples nearer to the median"),
    "random": ("Not drawn", "the random draw chose other samples"),
    "semdedup": ("Near-duplicate", "a kept sample of its concept has nearly the same image"),
    "threshold": ("Below the threshold", "its score is below the configured threshold"),
    "top": ("Not among the highest", "other samples of its concept have higher scores"),
}
# Of D2 with expected novelty.
NOVELTY = (
    STEPS["d2"][0],
    "passed every filter, but it is probably mismatched, a pick already covers it, or its gain is below that of the "
    "last pick of its concept",
)
# Faults: the reason why a sample, or the rest of a shard, could not be used.
FAULTS: Words = {
    "arrays_mismatch": ("Arrays do not match", "its shard's embeddings are not those of its rows, or of the pool"),
    "arrays_unreadable": ("Arrays cannot be read", "its shard's file of embeddings is damaged or missing"),
    "caption_empty": ("Empty caption", "the caption has no visible character"),
    "caption_not_utf8": ("Caption is not UTF-8", "the caption's bytes are not valid text"),
    "caption_too_long": ("Caption too long", "the caption is larger than the limit"),
    "corrupt_gzip": ("Damaged gzip", "the shard can be decompressed only up to the damage"),
    "corrupt_tar": ("Damaged tar", "the shard can be read only up to the damage"),
    "data_after_end": ("Data after the end", "the shard continues after its end mark; that part is not read"),
    "duplicate_key": ("Repeated key", "its shard uses the key more than once"),
    "duplicate_uid": ("Repeated uid", "the same sample, with the same uid, is earlier in the pool"),
    "embedding_not_finite": ("Embedding is not finite", "the embedding contains NaN or infinity"),
    "embedding_missing": ("Embedding is missing", "the column of vectors has none in the row"),
    "embedding_dimension": ("Embedding has another length", "most vectors of the file have another number of values"),
    "embedding_zero": ("Embedding is zero", "the embedding has no direction"),
    "empty_shard": ("Empty shard", "the shard has no bytes"),
    "gzip_bomb": ("Gzip bomb", "the shard decompresses to far more than its size allows"),
    "image_too_complex": ("Image too complex", "decoding it takes more than the limit"),
    "image_too_large": ("Image too large", "it has more pixels than the limit"),
    "image_too_narrow": ("Image too narrow", "one side is too many times longer than the other"),
    "image_undecodable": ("Image cannot be decoded", "its bytes are damaged, truncated or not an image"),
    "json_broken": ("Broken JSON", "the sample's metadata is not a JSON object"),
    "json_too_large": ("JSON too large", "the sample's metadata is larger than the limit"),
    "key_not_utf8": ("Key is not UTF-8", "the key's bytes are not valid text"),
    "late_member": ("Members apart", "a member came after its sample had been given up"),
    "member_too_large": ("Member too large", "a member is larger than the limit"),
    "members_too_far_apart": ("Members too far apart", "the sample's members are too far from each other in the shard"),
    "metadata_unreadable": ("Metadata cannot be read", "the shard's metadata is damaged or missing"),
    "missing_caption": ("No caption", "the sample has an image and no caption"),
    "missing_image": ("No image", "the sample has a caption and no image"),
    "name_too_long": ("Name too long", "the name of a member, or its key, is longer than the limit"),
    "not_a_file": ("Not a file", "a member is a link, a device or a sparse file"),
    "shard_text_too_large": ("Too much text", "the captions and names of its shard exceed the memory limit"),
    "shard_too_long": ("Shard too long", "the shard has more members than the limit"),
    "truncated_tar": ("Shard cut off", "the shard ends too early"),
    "uid_conflict": ("Uid of another sample", "an earlier sample of the pool with other content has the same uid"),
    "uid_malformed": ("Malformed uid", "the uid is not 32 hexadecimal digits"),
}
# Further reasons for differences between two runs.
CHANGES: Words = {
    "new shard": ("New shard", "the other run did not have its shard"),
    "removed shard": ("Removed shard", "this run does not have its shard"),
    "new sample": ("New sample", "the other run did not have it"),
    "sample is gone": ("Sample is gone", "this run does not have it"),
}


def reasons_of_novelty(steps: Sequence[StepRecord]) -> tuple[str, ...]:
    """Return the reasons that only steps with expected novelty give."""
    found: dict[str, bool] = {}
    for step in steps:
        if step["settings"] is not None:
            novel = isinstance(recorded_step(step["settings"]).settings, NoveltySettings)
            found[step["reason"]] = found.get(step["reason"], True) and novel
    return tuple(reason for reason, novel in found.items() if novel)


def explained(reason: str, novelty: Collection[str] = ()) -> tuple[str, str]:
    """Return a reason of the manifests in plain words: a label and its meaning, which may be empty.

    `novelty` are the reasons that stand for expected novelty in the run, see `reasons_of_novelty`.
    """
    if reason in novelty:
        return NOVELTY
    kind, colon, name = reason.partition(":")
    if colon and kind == "filter":
        return FILTERS.get(name, (f"Filter {name}", ""))
    if colon and kind == "selection":
        return STEPS.get(name, UNSELECTED)
    return FAULTS.get(reason) or CHANGES.get(reason) or (reason, "")
