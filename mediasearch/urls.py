"""The pages of mediasearch; include them wherever they suit the site."""

from __future__ import annotations

urlpatterns: list = []
