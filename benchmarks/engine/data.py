"""Vectors and columns like those of a picture library that CLIP has seen, from a seed.

Pictures and texts lie in two cones, as CLIP's do: two pictures that have nothing to do with each other are .48 alike,
a text and a picture 0, a text and its own picture .30. What a picture shows decides its place in its cone: one of 120
topics, one of 2,000 clusters of very different sizes, 16 directions inside the cluster, and noise in all dimensions.
Texts say part of that, and things of their own: so questions lie where no picture does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
DIMENSIONS, TOPICS, CLUSTERS, RANK, CATEGORIES = 512, 120, 2_000, 16, 50
CHUNK = 20_000
"""Assets that are made at a time; each lot has a seed of its own."""
CONE, SAID = 0.48, 0.58
"""How alike two pictures are that share only the cone; how much of what a picture shows its text says."""
MOMENT = 0.37
"""The time, as a part of the ten years, that correlated filters and a fourth of the questions are about."""
_TOPIC, _CLUSTER, _INSIDE, _NOISE = 0.25, 0.25, 0.30, 0.20
"""What decides a picture's place in its cone, as parts of 1."""
_OTHER_MOMENT, _OTHER_CATEGORY, _CAPTIONED, _PUBLIC, _OWNED = 0.2, 0.2, 0.9, 0.97, 0.9


@dataclass(frozen=True)
class World:
    """What all assets of a seed have in common."""

    seed: int

    @cached_property
    def _random(self) -> dict[str, Floats]:
        rng = np.random.default_rng([self.seed, 0])
        cones = np.linalg.qr(rng.standard_normal((DIMENSIONS, 2)))[0].T.astype(np.float32)
        space = rng.standard_normal((40, DIMENSIONS), dtype=np.float32)  # Topics resemble each other a little.
        frames = rng.standard_normal((CLUSTERS, RANK, DIMENSIONS), dtype=np.float32)
        return {
            "cones": cones,
            "topics": unit(rng.standard_normal((TOPICS, 40), dtype=np.float32) @ space),
            "clusters": unit(rng.standard_normal((CLUSTERS, DIMENSIONS), dtype=np.float32)),
            "told_topics": unit(rng.standard_normal((TOPICS, DIMENSIONS), dtype=np.float32)),
            "told_clusters": unit(rng.standard_normal((CLUSTERS, DIMENSIONS), dtype=np.float32)),
            "frames": frames / np.sqrt(np.float32(DIMENSIONS)),
        }

    @cached_property
    def topic_of(self) -> NDArray[np.int64]:
        """The topic of each cluster."""
        return np.random.default_rng([self.seed, 1]).integers(TOPICS, size=CLUSTERS)

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """The part of the library that each cluster has: Zipf, the largest 3 %."""
        return zipf(CLUSTERS, 5)

    def shown(self, cluster: NDArray[np.int64], rng: np.random.Generator) -> Floats:
        """What pictures of these clusters show: unit vectors, without their cone."""
        parts = self._random
        inside = rng.standard_normal((len(cluster), RANK), dtype=np.float32) / np.sqrt(np.arange(1, RANK + 1))
        inside /= np.linalg.norm(inside, axis=1, keepdims=True)
        place = (
            np.sqrt(_TOPIC) * parts["topics"][self.topic_of[cluster]] + np.sqrt(_CLUSTER) * parts["clusters"][cluster]
        )
        for one in np.unique(cluster):
            rows = cluster == one
            place[rows] += np.sqrt(_INSIDE) * inside[rows].astype(np.float32) @ parts["frames"][one]
        return self._inside(place + np.sqrt(_NOISE) * self._noise(len(cluster), rng))

    def told(self, shown: Floats, cluster: NDArray[np.int64], rng: np.random.Generator) -> Floats:
        """What texts about such pictures say: part of it, and something that their writers share."""
        parts = self._random
        own = np.sqrt(0.3) * parts["told_topics"][self.topic_of[cluster]]
        own += np.sqrt(0.3) * parts["told_clusters"][cluster] + np.sqrt(0.4) * self._noise(len(cluster), rng)
        return self._inside(SAID * shown + np.sqrt(1 - SAID**2) * self._inside(own))

    def picture(self, shown: Floats) -> Floats:
        return self._in_cone(0, shown)

    def text(self, told: Floats) -> Floats:
        return self._in_cone(1, told)

    def seen(self, pictures: Floats) -> Floats:
        """What pictures show, from their vectors."""
        return self._inside(pictures)

    def blurred(self, shown: Floats, rng: np.random.Generator) -> Floats:
        """What somebody remembers of a picture."""
        return self._inside(np.sqrt(0.8) * shown + np.sqrt(0.2) * self._noise(len(shown), rng))

    def _in_cone(self, cone: int, content: Floats) -> Floats:
        return unit(np.sqrt(CONE) * self._random["cones"][cone] + np.sqrt(1 - CONE) * content)

    def _inside(self, content: Floats) -> Floats:
        """Unit vectors without any part along the two cones."""
        cones = self._random["cones"]
        return unit(content - (content @ cones.T) @ cones)

    def _noise(self, rows: int, rng: np.random.Generator) -> Floats:
        return rng.standard_normal((rows, DIMENSIONS), dtype=np.float32) / np.sqrt(np.float32(DIMENSIONS))


@dataclass(frozen=True)
class Columns:
    """What filters go by, for every asset; asset `n` of the database is place n - 1."""

    seed: int
    number: int
    world: World = field(repr=False)

    def _rng(self, what: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, 2, what, self.number])

    @cached_property
    def cluster(self) -> NDArray[np.int64]:
        return self._rng(0).choice(CLUSTERS, size=self.number, p=self.world.shares)

    @cached_property
    def category(self) -> NDArray[np.int64]:
        """Four of five by their cluster, of 50 of very different sizes."""
        shares = zipf(CATEGORIES, 1)
        by_cluster = np.random.default_rng([self.seed, 3]).choice(CATEGORIES, size=CLUSTERS, p=shares)
        rng = self._rng(1)
        other = rng.choice(CATEGORIES, size=self.number, p=shares)
        return np.where(rng.random(self.number) < _OTHER_CATEGORY, other, by_cluster[self.cluster])

    @cached_property
    def added(self) -> NDArray[np.int64]:
        """Each asset's place by the date it was added, which has nothing to do with what it shows or where it lies."""
        return self._rng(2).permutation(self.number)

    @cached_property
    def taken(self) -> NDArray[np.int64]:
        """Each asset's place by the date it was taken: four of five of a cluster within some days."""
        rng = self._rng(3)
        moments = np.random.default_rng([self.seed, 4]).random(CLUSTERS)
        near = moments[self.cluster] + 0.002 * rng.standard_normal(self.number)
        moment = np.where(rng.random(self.number) < _OTHER_MOMENT, rng.random(self.number), near)
        return np.argsort(np.argsort(moment, kind="stable"), kind="stable")

    @cached_property
    def size(self) -> NDArray[np.int64]:
        """From 1 to 1,000,000, even, and without an index."""
        return self._rng(4).integers(1, 1_000_001, size=self.number)

    @cached_property
    def captioned(self) -> NDArray[np.bool_]:
        return self._rng(5).random(self.number) < _CAPTIONED

    @cached_property
    def public(self) -> NDArray[np.bool_]:
        return self._rng(6).random(self.number) < _PUBLIC

    def owner(self, users: int) -> NDArray[np.int64]:
        """The owner of each asset, from 1; 0 for those that nobody owns."""
        rng = self._rng(7)
        owner = 1 + rng.choice(users, size=self.number, p=zipf(users, 1))
        return np.where(rng.random(self.number) < _OWNED, owner, 0)


@dataclass(frozen=True, slots=True)
class Lot:
    """Some assets, in order."""

    first: int
    """The place of the first one, from 0."""
    image: Floats
    caption: Floats


def lots(columns: Columns) -> Iterator[Lot]:
    """Make the vectors of all assets, some at a time."""
    world = columns.world
    for first in range(0, columns.number, CHUNK):
        cluster = columns.cluster[first : first + CHUNK]
        rng = np.random.default_rng([columns.seed, 5, first])
        shown = world.shown(cluster, rng)
        yield Lot(first, world.picture(shown), world.text(world.told(shown, cluster, rng)))


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked, one row each."""

    about: NDArray[np.int64]
    """The place of the asset that each is about."""
    text: Floats
    picture: Floats


def questions(columns: Columns, images: NDArray[np.float16], number: int) -> Asked:
    """Make questions: of four, one is about any asset, two about one of any cluster, for people seek rare things.

    The fourth is about what was taken at `MOMENT`, which all correlated filters keep and most other pictures are not.
    `images` are the vectors of all assets.
    """
    world, rng = columns.world, np.random.default_rng([columns.seed, 6])
    members = np.argsort(columns.cluster, kind="stable")
    first_members = members[np.unique(columns.cluster[members], return_index=True)[1]]
    by_time = np.argsort(columns.taken)
    since = round(MOMENT * columns.number)
    of_moment = by_time[since : since + max(5, columns.number // 2_000)]
    about = rng.choice(first_members, size=number)
    about[0::4] = rng.integers(columns.number, size=len(about[0::4]))
    about[1::4] = rng.choice(of_moment, size=len(about[1::4]))
    shown = world.seen(images[about].astype(np.float32))
    words = world.told(world.blurred(shown, rng), columns.cluster[about], rng)
    return Asked(about, world.text(words), world.picture(world.blurred(shown, rng)))


def zipf(number: int, flat: int) -> NDArray[np.float64]:
    """Shares that fall with the place; the first `flat` are nearly alike."""
    shares = 1.0 / (np.arange(number) + flat)
    return shares / shares.sum()


def unit(vectors: Floats) -> Floats:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
