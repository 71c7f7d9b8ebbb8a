"""What all of mediasearch's tables are asked alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self, TypeVar

from django.contrib.postgres.fields import ArrayField
from django.db import models, router
from django.db.models import F, Func, Value

M = TypeVar("M", bound=models.Model)


class StoredQuerySet(models.QuerySet[M]):
    """Rows of a table of mediasearch's."""

    def primary(self) -> Self:
        """Read from the database that is written: what a replica still has must not lead to a write."""
        return self.using(router.db_for_write(self.model))

    def among(self, ids: Sequence[int]) -> Self:
        """Those with these primary keys, as one array however many they are."""
        return self.filter(Among(F("pk"), Value(list(ids), output_field=ArrayField(models.BigIntegerField()))))


class Among(Func):
    """`x = ANY (array)`: one parameter, where IN has one for each value."""

    template = "(%(expressions)s))"
    arg_joiner = " = ANY ("
    output_field = models.BooleanField()
