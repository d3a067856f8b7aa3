"""What pairs say of their pictures: templates, synonyms of the classes, and boilerplate that says nothing."""

from dataclasses import dataclass

import numpy as np

BOILERPLATE = (
    "image {}.jpg",
    "IMG_{}",
    "DSC{} copy",
    "click here to enlarge picture {}",
    "untitled {}",
    "free shipping on orders over {}",
    "page {} of 99",
)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words for the classes and the concepts of a source of pictures.

    Attributes
    ----------
    classes : the names of each class; the first is the one that prompts use.
    class_templates, concept_templates : with braces for the name.
    """

    classes: tuple[tuple[str, ...], ...]
    class_templates: tuple[str, ...]
    concept_templates: tuple[str, ...]

    def class_caption(self, label: int, random: np.random.Generator) -> str:
        """Caption a picture of a class, which is named by its first name half of the time."""
        first, *others = self.classes[label]
        name = first if random.random() < 0.5 else others[random.integers(len(others))]
        return self.class_templates[random.integers(len(self.class_templates))].format(name)

    def concept_caption(self, name: str, random: np.random.Generator) -> str:
        """Caption a picture of a concept."""
        return self.concept_templates[random.integers(len(self.concept_templates))].format(name)


CLOTHES_AND_EMOJI = Vocabulary(
    classes=(
        ("t-shirt", "tee", "short sleeved top"),
        ("trousers", "pants", "slacks"),
        ("pullover", "sweater", "jumper"),
        ("dress", "gown", "frock"),
        ("coat", "jacket", "overcoat"),
        ("sandal", "open shoe", "flip flop"),
        ("shirt", "blouse", "button up"),
        ("sneaker", "trainer", "running shoe"),
        ("bag", "handbag", "purse"),
        ("ankle boot", "boot", "bootee"),
    ),
    class_templates=(
        "a photo of a {}",
        "{} on a plain background",
        "buy this {} online",
        "{} for men and women",
        "new season {} in stock",
        "product picture of one {}",
        "my favourite {}",
    ),
    concept_templates=(
        "{}",
        "a picture of {}",
        "an emoji of {}",
        "icon that shows {}",
        "{} drawn in colour",
        "sticker with {}",
    ),
)
DIGITS_AND_CLIP_ART = Vocabulary(
    classes=(
        ("zero", "nought", "0"),
        ("one", "single", "1"),
        ("two", "a pair", "2"),
        ("three", "a trio", "3"),
        ("four", "a quartet", "4"),
        ("five", "a quintet", "5"),
        ("six", "half a dozen", "6"),
        ("seven", "one more than six", "7"),
        ("eight", "twice four", "8"),
        ("nine", "three times three", "9"),
    ),
    class_templates=(
        "the handwritten digit {}",
        "{} in handwriting",
        "a scan of the number {}",
        "number {} from a form",
        "somebody wrote {}",
        "{} on a cheque",
        "figure {} in ink",
    ),
    concept_templates=(
        "{}",
        "clip art of {}",
        "a drawing of {}",
        "{} as a vector graphic",
        "free picture with {}",
        "{} for your slides",
    ),
)


def boilerplate(random: np.random.Generator) -> str:
    """Return a caption that says nothing of any picture."""
    return BOILERPLATE[random.integers(len(BOILERPLATE))].format(random.integers(1000, 10_000))
