"""What the mini world is made of: its concepts and the part each plays.

Concepts are named as in the CLDR annotations of the emoji standard, which all seven sets of
artwork follow. A concept plays exactly one part, so no OOD test set shares a meaning with the
in-distribution classes, with the context objects or with the validation sets.
"""

from __future__ import annotations

from typing import Final

IN_DISTRIBUTION: Final = (
    "panda", "lion", "elephant", "giraffe", "fox", "koala", "hedgehog", "camel",
    "penguin", "owl", "flamingo", "parrot", "turtle", "frog", "octopus", "crab",
    "dolphin", "butterfly", "snail", "lady beetle",
    "banana", "pineapple", "strawberry", "watermelon", "grapes", "cherries",
    "carrot", "broccoli", "ear of corn", "eggplant",
    "hamburger", "pizza", "croissant", "pancakes", "doughnut", "birthday cake", "lollipop",
    "bicycle", "fire engine", "tractor", "helicopter", "rocket", "sailboat", "locomotive",
    "guitar", "violin", "trumpet", "drum",
    "umbrella", "teapot", "alarm clock", "backpack", "scissors", "light bulb", "telephone",
    "magnet",
)  # fmt: skip
"""The 56 classes of the mini benchmark."""

CONTEXT: Final = (
    "evergreen tree", "deciduous tree", "palm tree", "cactus", "tulip", "sunflower", "mushroom",
    "rock", "wood", "potted plant", "seedling", "maple leaf", "sun", "cloud", "rainbow",
    "crescent moon", "star", "snowman", "balloon", "wrapped gift", "candle", "books", "key",
    "soccer ball", "basketball", "chair", "bed", "door", "house", "tent", "basket", "bucket",
    "postbox", "fountain", "ladder", "hot beverage", "ribbon", "toolbox",
)  # fmt: skip
"""The 38 objects that stand beside a subject, as bamboo stands beside a panda."""

NATURAL: Final = frozenset({
    "animal-mammal", "animal-bird", "animal-amphibian", "animal-reptile", "animal-marine",
    "animal-bug", "plant-flower", "food-fruit", "food-vegetable", "food-prepared",
    "food-sweet",
})  # fmt: skip
"""Subgroups of the near-OOD set `near-natural`: siblings of our animals and food."""

MADE: Final = frozenset({
    "transport-ground", "transport-water", "transport-air", "musical-instrument", "household",
    "tool", "phone", "computer", "light-video", "clothing", "sport", "office", "writing",
})  # fmt: skip
"""Subgroups of the near-OOD set `near-made`: siblings of our vehicles, instruments, things."""

FACES: Final = frozenset({
    "face-smiling", "face-affection", "face-tongue", "face-hand", "face-neutral-skeptical",
    "face-sleepy", "face-unwell", "face-hat", "face-glasses", "face-concerned",
    "face-negative", "face-costume",
})  # fmt: skip

SYMBOLS: Final = frozenset({
    "transport-sign", "warning", "arrow", "religion", "zodiac", "av-symbol", "gender", "math",
    "punctuation", "currency", "other-symbol", "keycap", "alphanum", "geometric",
})  # fmt: skip

SCENERY: Final = frozenset({
    "place-geographic", "place-building", "place-religious", "place-other", "event", "game",
    "drink", "dishware", "book-paper", "money", "mail", "science", "medical", "music", "sound",
    "sky-weather", "arts-crafts", "food-asian", "plant-other", "award-medal", "lock", "hotel",
})  # fmt: skip
"""Subgroups of the validation OOD sets: neither near nor far test sets draw from them."""

LOOKALIKES: Final = frozenset({
    # another drawing or another name of an in-distribution class or a context object
    "two-hump camel", "monkey face", "cat face", "dog face", "tiger face", "horse face",
    "cow face", "pig face", "pig nose", "mouse face", "rabbit face", "guide dog",
    "service dog", "black cat", "spouting whale", "front-facing baby chick", "hatching chick",
    "paw prints", "wing", "feather", "black bird", "spider web", "rosette", "wilted flower",
    "bug", "beetle", "cooking", "shallow pan of food", "bowl with spoon", "root vegetable",
    "brown mushroom", "shortcake", "cupcake", "soft ice cream", "shaved ice", "candy",
    "railway car", "high-speed train", "train", "metro", "light rail", "station", "tram car",
    "monorail", "mountain railway", "oncoming bus", "oncoming police car", "oncoming taxi",
    "oncoming automobile", "bus stop", "motorway", "railway track", "police car light",
    "construction", "airplane departure", "airplane arrival", "suspension railway",
    "mountain cableway", "speedboat", "passenger ship", "ferry", "motor boat", "ship",
    "small airplane", "seat", "long drum", "mobile phone with arrow", "telephone receiver",
    "low battery", "camera with flash", "magnifying glass tilted left", "film frames",
    "open file folder", "linked paperclips", "round pushpin", "chart decreasing",
    "tear-off calendar", "spiral calendar", "hammer and pick", "hammer and wrench", "chains",
    "link", "clutch bag", "purse", "shopping bags", "couch and lamp", "elevator", "unicorn",
    "flag in hole", "cricket game", "bubbles", "umbrella on ground", "closed umbrella",
    "umbrella with rain drops", "Christmas tree", "leafless tree", "herb", "leafy green",
    "timer clock", "mantelpiece clock", "stopwatch", "watch", "glowing star", "sun with face",
    "full moon", "full moon face", "new moon face", "snowman without snow", "house with garden",
    "houses", "circus tent", "camping", "open book", "green book", "blue book", "orange book",
    "closed book", "old key", "locked with key", "fallen leaf", "mailbox", "heart with ribbon",
    "reminder ribbon", "musical note", "musical notes", "banjo", "bouquet",
    "leaf fluttering in wind",
    "softball", "volleyball", "french fries",
})  # fmt: skip
"""Left out of every OOD set: a person would not call them another thing."""

SPOKEN: Final = {
    "lady beetle": "ladybug", "ear of corn": "corn", "evergreen tree": "fir tree",
    "deciduous tree": "tree", "hot beverage": "cup of coffee", "wrapped gift": "gift",
    "seedling": "sprout", "wood": "log", "fire engine": "fire truck", "postbox": "mailbox",
    "locomotive": "steam locomotive", "potted plant": "plant in a pot",
}  # fmt: skip
"""The plain word where CLDR's annotation is stiff; used as class name and in captions."""

VENDORS: Final = (
    "noto", "noto-v1", "twemoji", "fluent-emoji-flat", "fxemoji", "streamline-emojis",
    "fluent-emoji-3d",
)  # fmt: skip
HELD_OUT_VENDOR: Final = "twemoji"
"""No model has seen its artwork; the hard split is drawn with it alone."""


def spoken(concept: str) -> str:
    """Return the plain English name of a concept."""
    return SPOKEN.get(concept, concept)


def part(concept: str, subgroup: str) -> str:
    """Return the part a concept plays in the world.

    One of `id`, `context`, `near-natural`, `near-made`, `validation-near`, `validation-far`,
    `faces`, `symbols` or `none` (seen in training as CLIP sees all the web, in no test set).
    A third of the siblings, chosen by the name's own bytes, is kept for validation.
    """
    if concept in IN_DISTRIBUTION:
        return "id"
    if concept in CONTEXT:
        return "context"
    if concept in LOOKALIKES:
        return "none"
    if subgroup in NATURAL | MADE:
        if sum(concept.encode()) % 3 == 0:
            return "validation-near"
        return "near-natural" if subgroup in NATURAL else "near-made"
    if subgroup in FACES:
        return "faces"
    if subgroup in SYMBOLS:
        return "symbols"
    return "validation-far" if subgroup in SCENERY else "none"
