"""The gallery: every sample that the report shows, once, with all that is known of it."""

import math
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from filtering.manifests.diff import ChangedSample
from filtering.report.data import Cover, QuarantineExample, ReasonExamples, Report, Thumbnail
from filtering.report.text import brief, clean

KEPT, DROPPED, QUARANTINED = "kept", "dropped", "quarantined"
# Samples of each side in the strip below the headline.
STRIP = 8
# Samples that are shown of those that became kept since another run, and of those that became dropped.
CHANGED = 16
LONGEST_SUBJECT = 200


@dataclass(frozen=True, slots=True)
class Card:
    """A sample of the gallery."""

    sample: Thumbnail
    anchor: str  # the fragment of its address in the page
    status: str  # kept, dropped or quarantined
    scores: tuple[tuple[str, float], ...]  # names and values, all finite
    subject: str  # what `filtering explain` takes for it, quoted for a shell
    detail: str = ""  # of a quarantined sample the fault
    spare: bool = False  # whether no other section of the page shows it


def cards(report: Report) -> tuple[Card, ...]:
    """Return a card for each sample that the report shows: a random sample first, quarantined samples last."""
    random, elsewhere = {each.uid: each for each in report.examples}, dict[str, Thumbnail]()
    for each in _samples(report):
        elsewhere.setdefault(each.uid, each)
    found = [*random.values(), *(each for uid, each in elsewhere.items() if uid not in random)]
    shown = [_card(each, report.score_name, each.uid not in elsewhere) for each in found]
    faults = [example for example in report.quarantine_examples if example.jpeg is not None]
    return (*shown, *(_faulty(at, example) for at, example in enumerate(faults, 1)))


def anchor_of(uid: str) -> str:
    """Return the fragment of a sample's address in the page."""
    return f"sample-{uid}"


def tally(shown: Sequence[Card]) -> Mapping[str, int]:
    """Return how many cards have each status, and how many each reason."""
    return Counter(name for card in shown for name in (card.status, card.sample.reason) if name)


def arranged(shown: Sequence[Card], pictures: frozenset[bytes]) -> list[Card]:
    """Return the cards for which a page with some images has room: samples with an image before those without one.

    Samples of which the page would show nothing but the caption, and only in the gallery, are left out.
    """
    there = [card for card in shown if not card.spare or card.sample.jpeg is None or card.sample.jpeg in pictures]
    return sorted(there, key=lambda card: card.sample.jpeg not in pictures)


def strip(shown: Sequence[Card], pictures: frozenset[bytes]) -> tuple[tuple[str, tuple[Card, ...]], ...]:
    """Return some kept and some dropped samples with their images, by status; nothing where no sample has one."""
    there = [card for card in shown if card.sample.jpeg in pictures]
    sides = ((status, tuple(card for card in there if card.status == status)[:STRIP]) for status in (KEPT, DROPPED))
    return tuple(side for side in sides if side[1])


def changed(shown: Sequence[Card], samples: Sequence[ChangedSample]) -> list[tuple[str, int, tuple[Card, ...]]]:
    """Return how many cards became kept, and how many became dropped, since another run, with some of each.

    `samples` are the changed ones among those that the report shows.
    """
    changes = {one["uid"]: one["change"] for one in samples}
    found = defaultdict[str, list[Card]](list)
    for card in shown:
        if change := changes.get(card.sample.uid):
            found[change].append(card)
    return [(change, len(there), tuple(there[:CHANGED])) for change, there in sorted(found.items(), reverse=True)]


def lowest_drops(report: Report) -> tuple[ReasonExamples, ...]:
    """Return the dropped samples with the lowest CLIP scores by reason, in the order of the run, lowest first."""
    found: dict[str, dict[str, Thumbnail]] = {reason: {} for reason in report.dropped_by_reason}
    for reason, members in ((one.reason, one.members) for one in report.filtered):
        found.setdefault(reason, {}).update((each.uid, each) for each in members)
    for each in report.lowest:
        found.setdefault(each.reason, {})[each.uid] = each
    ordered = ((reason, sorted(members.values(), key=_clip_score)) for reason, members in found.items())
    return tuple(ReasonExamples(reason, tuple(members)) for reason, members in ordered if members)


def _clip_score(sample: Thumbnail) -> float:
    return sample.clip_score if math.isfinite(sample.clip_score) else math.inf


def _samples(report: Report) -> Iterator[Thumbnail]:
    for examples in report.filtered:
        yield from examples.members
    yield from report.lowest
    for group in report.duplicates:
        yield from _placed(group.members, group.concept)
    for row in report.concepts:
        if row.sheet is not None:
            sheets = (row.sheet.kept, row.sheet.dropped, row.sheet.hardest, row.sheet.easiest)
            for sheet in sheets:
                yield from _placed(sheet, row.concept)
            covers = [each.cover for each in row.sheet.dropped if each.cover is not None]
            yield from _placed(map(_covering, covers), row.concept)


def _placed(samples: Iterator[Thumbnail] | Sequence[Thumbnail], concept: int) -> Iterator[Thumbnail]:
    # Pages of older versions name the concept of the sheet only.
    return (replace(each, concept=concept) if each.concept is None else each for each in samples)


def _covering(cover: Cover) -> Thumbnail:
    unknown = math.nan
    return Thumbnail(cover.uid, cover.key, cover.caption, "", unknown, unknown, "", None, None, cover.jpeg)


def _card(sample: Thumbnail, score_name: str, spare: bool) -> Card:
    known = {"clip_score": sample.clip_score, **sample.scores}
    known[score_name] = sample.score if math.isfinite(sample.score) else known.get(score_name, math.nan)
    scores = tuple((name, value) for name, value in known.items() if math.isfinite(value))
    status = DROPPED if sample.reason else KEPT
    return Card(sample, anchor_of(sample.uid), status, scores, _quoted(sample.uid), spare=spare)


def _faulty(at: int, example: QuarantineExample) -> Card:
    shard = example.shard.rpartition("/")[2]
    sample = Thumbnail(
        "", example.key, example.caption, shard, math.nan, math.nan, example.reason, None, None, example.jpeg
    )
    return Card(sample, f"quarantined-{at}", QUARANTINED, (), _quoted(f"{shard}/{example.key}"), example.detail)


def _quoted(subject: str) -> str:
    # A key from the web must stay one word of the command that a reader pastes; cut after quoting, it might not.
    return shlex.quote(brief(clean(subject), LONGEST_SUBJECT))
