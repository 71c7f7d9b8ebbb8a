"""The pages of mediasearch; include them wherever they suit the site."""

from __future__ import annotations

from django.urls import path

from mediasearch import views

app_name = "mediasearch"
urlpatterns = [
    path("", views.search, name="search"),
    path("image/<int:pk>/", views.asset, name="asset"),
    path("image/<int:pk>/original/", views.original, name="original"),
    path("thumbnail/<int:pk>/", views.thumbnail, name="thumbnail"),
]
