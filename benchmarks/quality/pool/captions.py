"""What pairs say of their pictures: templates, synonyms of the classes, and boilerplate that says nothing."""

import numpy as np

# The first of each class is the name that prompts use.
CLASSES: tuple[tuple[str, ...], ...] = (
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
)
CLOTHES_TEMPLATES = (
    "a photo of a {}",
    "{} on a plain background",
    "buy this {} online",
    "{} for men and women",
    "new season {} in stock",
    "product picture of one {}",
    "my favourite {}",
)
EMOJI_TEMPLATES = (
    "{}",
    "a picture of {}",
    "an emoji of {}",
    "icon that shows {}",
    "{} drawn in colour",
    "sticker with {}",
)
BOILERPLATE = (
    "image {}.jpg",
    "IMG_{}",
    "DSC{} copy",
    "click here to enlarge picture {}",
    "untitled {}",
    "free shipping on orders over {}",
    "page {} of 99",
)


def clothes_caption(label: int, random: np.random.Generator) -> str:
    """Caption a piece of clothing; the class is named by its first name half of the time."""
    first, *others = CLASSES[label]
    name = first if random.random() < 0.5 else others[random.integers(len(others))]
    return CLOTHES_TEMPLATES[random.integers(len(CLOTHES_TEMPLATES))].format(name)


def emoji_caption(name: str, random: np.random.Generator) -> str:
    """Caption an OpenMoji picture."""
    return EMOJI_TEMPLATES[random.integers(len(EMOJI_TEMPLATES))].format(name)


def boilerplate(random: np.random.Generator) -> str:
    """Return a caption that says nothing of any picture."""
    return BOILERPLATE[random.integers(len(BOILERPLATE))].format(random.integers(1000, 10_000))
