"""What searches are narrowed to: so large a part of the library, and what sites filter by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from django.contrib.auth.models import Group, User
from django.db.models import Exists, OuterRef, Q, QuerySet

from benchmarks.engine import data
from benchmarks.engine.library import Library
from benchmarks.engine.loading import category, moment
from mediasearch.models import Asset
from mediasearch.sources import registry

SHARES = (0.5, 0.2, 0.1, 0.05, 0.03, 0.01, 0.001)


@dataclass(frozen=True)
class Filter:
    """A scope with a name."""

    name: str
    scope: QuerySet[Asset]


def everything() -> Filter:
    return Filter("no filter", Asset.objects.all())


def uncorrelated(library: Library, share: float) -> Filter:
    """So large a part by the date of adding, which has nothing to do with what pictures show."""
    return Filter(
        f"{share * 100:g} % uncorrelated",
        Asset.objects.filter(created_at__lt=moment(below(library, share), library.number)),
    )


def below(library: Library, share: float) -> int:
    """The place by the date of adding that so large a part lies before."""
    return max(1, round(share * library.number))


def correlated(library: Library, share: float) -> Filter:
    """So large a part by the date of taking, which pictures of one cluster share: few clusters, nearly whole."""
    first = round((library.number - below(library, share)) * data.MOMENT)
    since, until = (moment(place, library.number) for place in (first, first + below(library, share)))
    return Filter(f"{share * 100:g} % correlated", Asset.objects.filter(taken_at__gte=since, taken_at__lt=until))


def a_category(library: Library, share: float = 0.04) -> Filter:
    """The category that is nearest to so large a part."""
    sizes = np.bincount(library.columns.category) / library.number
    number = int(np.argmin(np.abs(sizes - share)))
    return Filter(f"a category of {sizes[number] * 100:.1f} %", Asset.objects.filter(category=category(number)))


def sweep(library: Library) -> list[Filter]:
    """What sites filter by, and what PostgreSQL's estimates make of it: right, or wrong by a factor of a hundred."""
    assets = Asset.objects
    largest = int(np.argmax(np.bincount(library.columns.cluster)))
    members = np.flatnonzero(library.columns.cluster == largest)
    own_category = category(int(np.bincount(library.columns.category[members]).argmax()))
    middle = moment(int(np.median(library.columns.taken[members])), library.number)
    near = Q(taken_at__gte=middle - timedelta(days=60), taken_at__lt=middle + timedelta(days=60))
    rare, common = (library.writer.tags[place] for place in (120, 0))
    group = Group.objects.get(name="group 3")
    mine = User.objects.get(username="user 0")
    same_owner = Asset.objects.filter(pk=OuterRef("pk"), owner__groups=group)
    return [
        everything(),
        Filter("what a visitor may see", registry.visible_to(None)),
        a_category(library),
        Filter("a category and its days", assets.filter(near, category=own_category)),
        Filter("a category and other days", assets.exclude(near).filter(category=own_category)),
        Filter("a month of any year", assets.filter(taken_at__month=7)),
        Filter("a day of the week", assets.filter(created_at__week_day=2)),
        Filter("a year", assets.filter(created_at__year=2018)),
        Filter("a common word in the caption", assets.filter(caption__icontains=common)),
        Filter("a rare word in the title", assets.filter(title__icontains=rare)),
        Filter("a common tag", assets.filter(tags__contains=[common])),
        Filter("a rare tag", assets.filter(tags__overlap=[rare])),
        Filter("public or mine", assets.filter(Q(is_public=True) | Q(owner=mine))),
        Filter("not public", assets.filter(is_public=False)),
        Filter("owned by a group", assets.filter(owner__in=User.objects.filter(groups=group))),
        Filter("owned by a group, by EXISTS", assets.filter(Exists(same_owner))),
        Filter("1 % without an index", assets.filter(byte_size__lte=10_000)),
        Filter("10 % without an index", assets.filter(byte_size__lte=100_000)),
        Filter("30 % without an index", assets.filter(byte_size__lte=300_000)),
    ]
