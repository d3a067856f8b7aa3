"""The reasons of the manifests in plain words."""

from collections.abc import Mapping

Words = Mapping[str, tuple[str, str]]

# The package's own filters: a label, and what it means that a sample failed it.
FILTERS: Words = {
    "caption": ("Caption filter", "the caption is shorter or longer than the configuration allows"),
    "clip_score": ("CLIP-score filter", "picture and caption agree less than the configuration asks"),
    "image": ("Image filter", "the picture is smaller or longer than the configuration allows"),
    "language": ("Language filter", "the caption is in another language than the configuration asks"),
    "words": ("Word filter", "the caption holds no word of the configured list"),
}
UNSELECTED = ("Not selected", "passed every filter, but the budget of its concept went to others")
# The selectors: what it means that one did not pick a sample.
STEPS: Words = {
    "all": UNSELECTED,
    "ccs": ("Not drawn", "the draw from its stratum of difficulty took others"),
    "clip_powered": ("Not selected", "others fit their captions better or lie farther from their neighbours"),
    "d2": ("Not picked by D2", "passed every filter, but others of its concept are worth more or already stand for it"),
    "density": ("Too central", "the budget of its concept went to samples farther from the centre"),
    "flexrand": ("Not drawn", "the draw from easy and from hard samples took others"),
    "hierarchical": ("Not drawn", "the draw, balanced down a hierarchy of concepts, took others"),
    "metaclip": ("Not drawn", "many captions match the same entries, and the balanced draw took others"),
    "moderate": ("Not in the middle", "the budget of its concept went to samples nearer to the median"),
    "random": ("Not drawn", "the random draw took others"),
    "semdedup": ("Near-duplicate", "another sample of its concept looks the same"),
    "threshold": ("Below the threshold", "its score is lower than what the configuration keeps"),
    "top": ("Not among the highest", "others of its concept score higher"),
}
# Why a sample, or the rest of a shard, could not be used.
FAULTS: Words = {
    "arrays_mismatch": ("Arrays do not match", "its shard's embeddings and metadata differ in their number of rows"),
    "arrays_unreadable": ("Arrays cannot be read", "its shard's file of embeddings is damaged or missing"),
    "caption_empty": ("Empty caption", "the caption holds no text"),
    "caption_not_utf8": ("Caption is not UTF-8", "the caption's bytes are no valid text"),
    "caption_too_long": ("Caption too long", "the caption's file is larger than what is read"),
    "corrupt_gzip": ("Damaged gzip", "the shard cannot be decompressed beyond some place"),
    "corrupt_tar": ("Damaged tar", "the shard's structure is broken beyond some place"),
    "data_after_end": ("Data after the end", "the shard goes on behind its end mark; that part is not read"),
    "duplicate_key": ("Repeated key", "its shard uses the key more than once"),
    "duplicate_uid": ("Repeated uid", "an earlier sample of the pool has the same uid"),
    "embedding_not_finite": ("Embedding is not finite", "the embedding holds NaN or infinity"),
    "embedding_zero": ("Embedding is zero", "the embedding has no direction"),
    "empty_shard": ("Empty shard", "the shard has no bytes"),
    "gzip_bomb": ("Gzip bomb", "the shard decompresses to far more than its size allows"),
    "image_too_complex": ("Picture too complex", "decoding it would take more than is allowed"),
    "image_too_large": ("Picture too large", "it has more pixels than are decoded"),
    "image_too_narrow": ("Picture too narrow", "one side is too many times the other"),
    "image_undecodable": ("Picture cannot be decoded", "its bytes are damaged, cut off or no picture at all"),
    "json_broken": ("Broken JSON", "the sample's metadata is no JSON object"),
    "json_too_large": ("JSON too large", "the sample's metadata is larger than what is read"),
    "late_member": ("Members apart", "a member came after its sample had to be given up"),
    "member_too_large": ("Member too large", "a member is larger than what is read"),
    "members_too_far_apart": ("Members too far apart", "the sample's members lie too far from each other in the shard"),
    "metadata_unreadable": ("Metadata cannot be read", "the shard's metadata is damaged or missing"),
    "missing_caption": ("No caption", "there is a picture without a caption"),
    "missing_image": ("No picture", "there is a caption without a picture"),
    "name_too_long": ("Name too long", "a member's name is longer than what is taken"),
    "not_a_file": ("Not a file", "a member is a link, a folder or a device"),
    "shard_text_too_large": ("Too much text", "the captions and names of its shard exceed what memory allows"),
    "shard_too_long": ("Shard too long", "the shard has more members than are read"),
    "truncated_tar": ("Shard cut off", "the shard ends too early"),
    "uid_malformed": ("Malformed uid", "the uid is not 32 hexadecimal digits"),
}
# What two runs may differ by beside the reasons above.
CHANGES: Words = {
    "new shard": ("New shard", "the other run did not have its shard"),
    "removed shard": ("Removed shard", "this run does not have its shard"),
    "new sample": ("New sample", "the other run did not have it"),
    "sample is gone": ("Sample is gone", "this run does not have it"),
}


def explained(reason: str) -> tuple[str, str]:
    """Return a reason of the manifests in plain words: a label, and what it means (may be empty)."""
    kind, colon, name = reason.partition(":")
    if colon and kind == "filter":
        return FILTERS.get(name, (f"Filter {name}", ""))
    if colon and kind == "selection":
        return STEPS.get(name, UNSELECTED)
    return FAULTS.get(reason) or CHANGES.get(reason) or (reason, "")
