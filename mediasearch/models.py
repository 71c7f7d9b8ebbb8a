"""What is stored: pictures, their vectors, and the work that is still owed."""

from __future__ import annotations

import hashlib
import os
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.core.files.storage import Storage, storages
from django.db import models, router, transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from pgvector.django import HalfVectorField

from mediasearch import conf, fulltext
from mediasearch.features import titles
from mediasearch.querysets import AssetQuerySet, GenerationQuerySet, JobQuerySet, PauseQuerySet, TallyQuerySet

LIBRARY = "library"
_LONGEST_STEM, _LONGEST_SUFFIX = 180, 20
"""Bytes."""


def storage() -> Storage:
    """The storage of the library's own files and of all thumbnails."""
    return storages[conf.settings().storage]


class Stage(models.TextChoices):
    """One step of indexing."""

    INSPECT = "inspect", _("inspect")
    READ = "read", _("read")
    DESCRIBE = "describe", _("describe")
    EMBED_IMAGE = "embed_image", _("embed image")
    EMBED_CAPTION = "embed_caption", _("embed caption")


EMBEDS = (Stage.EMBED_IMAGE, Stage.EMBED_CAPTION)
"""The stages that are owed once for each living generation."""


class Remembered(models.JSONField):
    """What only statements of its own change: whoever saves a row may have read it long ago."""

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        return super().pre_save(model_instance, add) if add else F(self.attname)


class Asset(models.Model):
    """One picture that mediasearch knows."""

    #: Each text that can be searched, with its weight in `text_vector`.
    TEXT_WEIGHTS = {"title": "A", "alt_text": "B", "tags": "B", "category": "B", "caption": "B", "ocr_text": "C"}
    #: A picture is found by its own row; it does not count as "used" by it. Read by Wagtail.
    wagtail_reference_index_ignore = True
    #: How urgent the jobs are that follow from saving this object; None: as those of an upload.
    owed_priority: int | None = None

    source = models.SlugField(_("source"), default=LIBRARY, editable=False)
    object_id = models.BigIntegerField(null=True, blank=True, editable=False)
    object_uuid = models.UUIDField(null=True, blank=True, editable=False)
    file = models.FileField(_("file"), upload_to="mediasearch/%Y/%m", storage=storage, max_length=255, blank=True)
    file_version = models.CharField(max_length=255, blank=True, editable=False)

    title = models.CharField(_("title"), max_length=255, blank=True)
    alt_text = models.TextField(_("alt text"), blank=True)
    caption = models.TextField(_("caption"), blank=True)
    caption_source = models.SlugField(_("caption from"), blank=True, editable=False)
    category = models.CharField(_("category"), max_length=100, blank=True)
    tags = ArrayField(models.CharField(max_length=100), verbose_name=_("tags"), default=list, blank=True)
    language = models.CharField(_("language"), max_length=10, blank=True, help_text=_("ISO 639-1 code, such as en."))
    copyright = models.TextField(_("copyright"), blank=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, verbose_name=_("owner"), null=True, blank=True, related_name="+"
    )
    is_public = models.BooleanField(_("public"), default=True)
    #: How often it is used, shown or liked, as the site counts; searches may let it weigh.
    popularity = models.PositiveIntegerField(_("popularity"), default=0, db_default=0, editable=False)
    taken_at = models.DateTimeField(_("taken"), null=True, blank=True)
    created_at = models.DateTimeField(_("added"), default=timezone.now, editable=False)
    modified_at = models.DateTimeField(_("changed"), auto_now=True)

    width = models.PositiveIntegerField(_("width"), null=True, editable=False)
    height = models.PositiveIntegerField(_("height"), null=True, editable=False)
    mime_type = models.CharField(_("media type"), max_length=50, blank=True, editable=False)
    byte_size = models.PositiveBigIntegerField(_("bytes"), null=True, editable=False)
    content_hash = models.CharField(max_length=64, blank=True, editable=False)
    perceptual_hash = models.BigIntegerField(null=True, editable=False)
    thumbnail = models.CharField(max_length=255, blank=True, editable=False)
    ocr_text = models.TextField(_("text in the picture"), blank=True, editable=False)
    ocr_words = models.JSONField(default=list, blank=True, editable=False)
    text_vector = SearchVectorField(null=True, editable=False)
    #: What jobs that were pruned had done: {"read": input_key, "embed_image:3": input_key}. A job that is there counts.
    settled = Remembered(default=dict, blank=True, editable=False)

    objects = AssetQuerySet.as_manager()

    class Meta:
        verbose_name, verbose_name_plural = _("image"), _("images")
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["source", "object_id"], condition=Q(object_id__isnull=False), name="mediasearch_asset_object_id"
            ),
            models.UniqueConstraint(
                fields=["source", "object_uuid"],
                condition=Q(object_uuid__isnull=False),
                name="mediasearch_asset_object_uuid",
            ),
        ]
        indexes = [
            GinIndex(fields=["text_vector"], name="mediasearch_asset_text", fastupdate=False),
            GinIndex(fields=["tags"], name="mediasearch_asset_tags"),
            models.Index(fields=["category"], name="mediasearch_asset_category"),
            models.Index(fields=["taken_at"], name="mediasearch_asset_taken"),
            models.Index(fields=["created_at", "id"], name="mediasearch_asset_created"),
            models.Index(fields=["content_hash"], name="mediasearch_asset_content"),
        ]

    def __str__(self) -> str:
        return self.title or (self.file.name or "").rpartition("/")[2] or f"{self.source} {self.pk}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store the row with its text vector, so that the two can't differ, and with what is owed to it."""
        self.prepare()
        if (only := kwargs.get("update_fields")) is not None:
            derived = {"text_vector"} if set(only) & {*self.TEXT_WEIGHTS, "language"} else set()
            kwargs["update_fields"] = {*only, *derived} | ({"file_version"} if "file" in only else set())
        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        # Its jobs are written on post_save, which Django sends when the row is committed already, unless in here.
        with transaction.atomic(using=using, savepoint=False):
            super().save(*args, **kwargs)

    def prepare(self) -> None:
        """Set what follows from other fields."""
        if self.source == LIBRARY and self.file:
            if not self.file._committed:  # type: ignore[attr-defined]
                # Storing the file now gives it the name that jobs go by.
                self.file.save(_storable(str(self.file.name)), self.file.file, save=False)
            self.file_version = str(self.file.name)
        parts = [(self._text(name), weight) for name, weight in self.TEXT_WEIGHTS.items()]
        self.text_vector = fulltext.vector(parts, self.language)

    def _text(self, name: str) -> str:
        value = getattr(self, name)
        return "\n".join(value) if isinstance(value, list) else value

    @property
    def description(self) -> str:
        """What people, or a captioner, say of the picture, line by line: its caption vector is made of this."""
        said = (titles.words(self.title), self.alt_text.strip(), self.caption.strip())
        return "\n".join(dict.fromkeys(line for line in said if line))

    def input_key(self, stage: str) -> str:
        """Return a name for what a stage reads; where it has not changed, there is nothing to do."""
        read = self.description if stage == Stage.EMBED_CAPTION else self.file_version
        return hashlib.sha256(read.encode()).hexdigest()[:32] if read else ""


def _storable(name: str) -> str:
    """Return a file name that is short enough for any disk: disks count bytes, where Django counts characters."""
    stem, suffix = os.path.splitext(name)
    suffix = suffix if len(suffix.encode()) <= _LONGEST_SUFFIX else ""
    return stem.encode()[:_LONGEST_STEM].decode(errors="ignore") + suffix


class Generation(models.Model):
    """One set of vectors, made by one pair of encoders."""

    class State(models.TextChoices):
        BUILDING = "building", _("building")
        ACTIVE = "active", _("active")
        RETIRED = "retired", _("retired")

    state = models.CharField(max_length=10, choices=State, default=State.BUILDING)
    encoder = models.JSONField()
    fingerprint = models.CharField(max_length=255)
    dimensions = models.PositiveIntegerField()
    #: Shortest side, in pixels, that the image encoder looks at; so whoever opens pictures need not have the model.
    input_size = models.PositiveIntegerField(default=224)
    languages = models.JSONField(null=True, blank=True)
    caption_encoder = models.JSONField(null=True, blank=True)
    caption_fingerprint = models.CharField(max_length=255)
    caption_dimensions = models.PositiveIntegerField()
    caption_languages = models.JSONField(null=True, blank=True)
    calibration = models.JSONField(default=dict, blank=True)
    #: The lease of the process that calibrates it, by the database's clock, and whose it is.
    calibrating_until = models.DateTimeField(null=True, blank=True)
    calibration_token = models.UUIDField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    activated_at = models.DateTimeField(null=True, blank=True)
    retired_at = models.DateTimeField(null=True, blank=True)

    objects = GenerationQuerySet.as_manager()

    class Meta:
        verbose_name, verbose_name_plural = _("generation"), _("generations")
        constraints = [
            models.UniqueConstraint(fields=["state"], condition=Q(state="active"), name="mediasearch_one_active")
        ]

    def __str__(self) -> str:
        return f"{self.pk}: {self.fingerprint} ({self.state})"

    def reads(self, field: str) -> frozenset[str] | None:
        """Return the languages that the encoder of `image` or `caption` reads; None means any."""
        languages = self.languages if field == "image" else self.caption_languages
        return None if languages is None else frozenset(languages)

    @property
    def widths(self) -> dict[str, int]:
        """The dimensions of each field of `Embedding` that this generation fills."""
        widths = {"image": self.dimensions, "caption": self.caption_dimensions}
        return widths if self.caption_encoder is None else widths | {"image_caption": self.dimensions}

    @property
    def told_field(self) -> str:
        """The field of `Embedding` that holds descriptions as vectors which a picture's can be compared with."""
        return "caption" if self.caption_encoder is None else "image_caption"


class Embedding(models.Model):
    """The vectors of one asset in one generation. Its HNSW indexes are made by `indexing.generations`.

    A caption encoder of its own puts captions into another space than pictures: `image_caption` is then the caption's
    vector by the image encoder's text tower, and empty where one encoder does both.
    """

    generation = models.ForeignKey(Generation, models.CASCADE, related_name="embeddings")
    asset = models.ForeignKey(Asset, models.CASCADE, related_name="embeddings")
    image = HalfVectorField(null=True)
    caption = HalfVectorField(null=True)
    image_caption = HalfVectorField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["generation", "asset"], name="mediasearch_embedding_once")]

    def __str__(self) -> str:
        return f"{self.asset_id} in generation {self.generation_id}"


class Job(models.Model):
    """What is owed to an asset: one stage, for one generation where the stage makes vectors."""

    class State(models.TextChoices):
        PENDING = "pending", _("pending")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")
        SKIPPED = "skipped", _("skipped")

    UPLOAD, BACKFILL = 0, 10

    asset = models.ForeignKey(Asset, models.CASCADE, related_name="jobs")
    stage = models.CharField(_("stage"), max_length=20, choices=Stage)
    generation = models.ForeignKey(Generation, models.CASCADE, null=True, blank=True, related_name="jobs")
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.PENDING)
    input_key = models.CharField(max_length=32, blank=True)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    suspect = models.BooleanField(default=False)
    priority = models.SmallIntegerField(default=UPLOAD)
    due_at = models.DateTimeField(_("due"), default=timezone.now)
    lease_until = models.DateTimeField(null=True, blank=True)
    token = models.UUIDField(null=True, blank=True)
    error = models.TextField(_("error"), blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        verbose_name, verbose_name_plural = _("job"), _("jobs")
        constraints = [
            models.UniqueConstraint(
                fields=["asset", "stage"], condition=Q(generation__isnull=True), name="mediasearch_job_once"
            ),
            models.UniqueConstraint(
                fields=["asset", "stage", "generation"],
                condition=Q(generation__isnull=False),
                name="mediasearch_job_once_each",
            ),
        ]
        indexes = [
            models.Index(
                fields=["stage", "priority", "due_at", "id"], condition=Q(state="pending"), name="mediasearch_job_due"
            ),
            models.Index(fields=["lease_until"], condition=Q(state="running"), name="mediasearch_job_leased"),
            models.Index(fields=["stage", "id"], condition=Q(state="failed"), name="mediasearch_job_failed"),
            models.Index(
                fields=["finished_at"], condition=Q(finished_at__isnull=False), name="mediasearch_job_finished"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.stage} of {self.asset_id}: {self.state}"


class Pause(models.Model):
    """A stage that rests, because something that all its jobs share is down."""

    stage = models.CharField(max_length=20, choices=Stage, unique=True)
    reason = models.TextField()
    since = models.DateTimeField(default=timezone.now)
    until = models.DateTimeField()

    objects = PauseQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.stage}: {self.reason}"


class Tally(models.Model):
    """How many jobs of a stage ended in one way, ever: counted when they do, for jobs are pruned."""

    stage = models.CharField(max_length=20, choices=Stage)
    outcome = models.CharField(max_length=10)
    """`done`, `skipped`, `failed`, `retried` after an error of the file's own, or `lost` with the worker."""
    number = models.PositiveBigIntegerField(default=0)

    objects = TallyQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["stage", "outcome"], name="mediasearch_tally_once")]

    def __str__(self) -> str:
        return f"{self.stage} {self.outcome}: {self.number}"
