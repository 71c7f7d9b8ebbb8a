"""Questions that fit any library, to measure with where nobody has asked yet."""

from __future__ import annotations

PHRASES = (
    "a dog running on a beach", "an old map", "a red car in the street", "two people shaking hands", "a bowl of soup",
    "a cat asleep on a chair", "a ship in a storm", "children playing in a park", "a handwritten letter", "a sunset",
    "a crowded train station", "a mountain covered with snow", "a portrait of a woman", "a bicycle against a wall",
    "a kitchen with a wooden table", "a bird on a branch", "the front page of a newspaper", "a bridge over a river",
    "a man with a hat", "a football match", "an empty road at night", "a plate of fruit", "a computer on a desk",
    "a concert with many people", "a church tower", "a horse in a field", "a cup of coffee", "a street sign",
    "a black and white photograph", "a painting of flowers", "people waiting for a bus", "a fire in a forest",
    "a glass building", "a baby in a pram", "a table with numbers", "a logo on a white background", "a waterfall",
    "a market with vegetables", "an aeroplane in the sky", "a bedroom with a large window", "a diagram of a machine",
    "a wedding", "fishing boats in a harbour", "a screenshot of a program", "a statue in a square", "rain on a window",
    "a wooden house in the woods", "a meeting in an office", "a close-up of an insect", "a castle on a hill",
)  # fmt: skip
