"""What is stored: pictures, their vectors, and the work that is still owed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.core.files.storage import Storage, storages
from django.db import models, router, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from pgvector.django import HalfVectorField

from mediasearch import conf, identity
from mediasearch.derivation import LIBRARY as LIBRARY
from mediasearch.derivation import Inputs
from mediasearch.features import lexemes
from mediasearch.features.base import Question
from mediasearch.querysets import (
    AssetQuerySet,
    DiscardQuerySet,
    EmbeddingQuerySet,
    GenerationQuerySet,
    JobQuerySet,
    PauseQuerySet,
    StrayQuerySet,
    TallyQuerySet,
)
from mediasearch.shared_rows import SharedRow
from mediasearch.storing import StoredFileField


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
STAGE_VERSIONS: dict[Stage, int] = dict.fromkeys(Stage, 1)
"""Raise a stage's version when it makes more of the same file or text: all assets are then owed it once more."""


def current_version() -> int:
    """Return the version of all that follows from an asset's row: of the folding of words and of each stage.

    A sum, and so it only grows: while old and new processes run side by side, the new ones know which rows the old
    ones wrote.
    """
    return lexemes.VERSION + sum(STAGE_VERSIONS.values())


BLANK = (
    Q(width=None) | Q(height=None) | Q(byte_size=None) | Q(perceptual_hash=None)
    | Q(mime_type="") | Q(content_hash="") | Q(thumbnail="") | Q(text_vector=None)
    | Q(ocr_text="", ocr_length__gt=0)
)  # fmt: skip
"""What a row looks like before it was inspected, or after something undid what workers wrote."""


class Asset(SharedRow):
    """One picture that mediasearch knows."""

    #: What the stage `inspect` fills in, which is never blank once it was done.
    MEASURED = (
        "width", "height", "mime_type", "byte_size", "content_hash", "perceptual_hash", "thumbnail",
    )  # fmt: skip
    WORKERS = frozenset({*MEASURED, "ocr_text", "ocr_words", "ocr_length", "text_vector", "derived_version", "settled"})
    ADOPTED = frozenset({"title", "caption", "caption_source", "tags", "copyright", "taken_at"})
    #: A file that was replaced is soon deleted: whoever still has its name must not store that again by the way.
    STICKY = frozenset({"file", "file_version"})
    #: A picture is found by its own row; it does not count as "used" by it. Read by Wagtail.
    wagtail_reference_index_ignore = True

    source = models.SlugField(_("source"), default=LIBRARY, editable=False)
    object_id = models.BigIntegerField(null=True, blank=True, editable=False)
    object_uuid = models.UUIDField(null=True, blank=True, editable=False)
    file = StoredFileField(_("file"), upload_to="mediasearch/%Y/%m", storage=storage, max_length=255, blank=True)
    #: What changes when the file does; of the library's files a hash of their content.
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
        settings.AUTH_USER_MODEL, models.SET_NULL, verbose_name=_("owner"), null=True, blank=True, related_name="+",
        db_index=False,  # mediasearch_asset_owned begins with it.
    )  # fmt: skip
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
    #: Characters that were read; None where that was before they were counted.
    ocr_length = models.PositiveIntegerField(null=True, editable=False)
    text_vector = SearchVectorField(null=True, editable=False)
    #: With which `current_version` text vector and jobs last followed from this row; 0 where they are yet to do so.
    derived_version = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    #: What jobs that were pruned had done: {"read": input_key, "embed_image:3": input_key}. A job that is there counts.
    settled = models.JSONField(default=dict, blank=True, editable=False)

    objects = AssetQuerySet.as_manager()

    class Meta:
        verbose_name, verbose_name_plural = _("image"), _("images")
        ordering = ["-created_at", "-id"]
        #: Django stores these names in the database and does not translate them.
        permissions = [("download_untouched", "Can download files with all their metadata: place, device, owner")]
        constraints = [
            # Without conditions, which Django's upserts can't name; where there is no id, there is no conflict.
            models.UniqueConstraint(fields=["source", "object_id"], name="mediasearch_asset_by_id"),
            models.UniqueConstraint(fields=["source", "object_uuid"], name="mediasearch_asset_by_uuid"),
        ]
        indexes = [
            GinIndex(fields=["text_vector"], name="mediasearch_asset_text", fastupdate=False),
            GinIndex(fields=["tags"], name="mediasearch_asset_tags"),
            models.Index(fields=["category"], name="mediasearch_asset_category"),
            # Which categories a visitor sees, and a user beside them: those of hidden assets are not looked at.
            models.Index(fields=["source", "category"], condition=Q(is_public=True), name="mediasearch_asset_public"),
            models.Index(
                fields=["owner", "category"], condition=Q(owner__isnull=False), name="mediasearch_asset_owned"
            ),
            models.Index(fields=["taken_at"], name="mediasearch_asset_taken"),
            models.Index(fields=["created_at", "id"], name="mediasearch_asset_created"),
            models.Index(fields=["content_hash"], name="mediasearch_asset_content"),
            models.Index(fields=["derived_version"], name="mediasearch_asset_derived"),
            models.Index(fields=["id"], condition=BLANK, name="mediasearch_asset_blank"),
            models.Index(fields=["file"], condition=~Q(file=""), name="mediasearch_asset_file"),
            models.Index(fields=["thumbnail"], condition=~Q(thumbnail=""), name="mediasearch_asset_thumbnail"),
        ]

    def __str__(self) -> str:
        return self.title or (self.file.name or "").rpartition("/")[2] or f"{self.source} {self.pk}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store what people write of the row, with what follows from it: text vector and jobs, in one transaction.

        Columns that workers write stay as they are, and so do those that they filled in since this object was read,
        unless it was given another value.
        """
        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        adding = self._state.adding
        only = kwargs.get("update_fields")
        if only is None or "file" in only:
            self.store_file()
        if adding:
            self.prepare()
        elif self.has_changed("caption") and not self.has_changed("caption_source"):
            self.caption_source = ""
        if only is not None:
            only = kwargs["update_fields"] = written_fields(only) - self.WORKERS
        inserting = adding and self.pk is None
        with transaction.atomic(using=using, savepoint=False):
            super().save(*args, **kwargs)
            written = Asset.objects.using(using)
            if inserting:
                Job.objects.using(using).owe([self])
            else:
                written.follow([self.pk])
            self.note_stored(using, self.STICKY if only is None else self.STICKY & only)

    def prepare(self) -> None:
        """Set what an INSERT stores beside what people wrote: a copied row has done none of the other's work."""
        self.store_file()
        if self.pk is None:  # Else it may yet be an UPDATE, of a row that knows the version of its file.
            self.file_version = self.inputs.version
        self.settled, self.derived_version = {}, current_version()
        self.text_vector = self.inputs.document.expression

    def store_file(self) -> None:
        """Store an uploaded file now, which gives it the name and the version that jobs go by."""
        if "file" in self.__dict__ and self.file and not self.file._committed:  # type: ignore[attr-defined]
            self.file.save(str(self.file.name), self.file.file, save=False)

    @property
    def inputs(self) -> Inputs:
        """What text vector and jobs follow from, as this object has it."""
        names = (field.name for field in fields(Inputs) if field.name != "file")
        return Inputs(**{name: getattr(self, name) for name in names}, file=str(self.file.name or ""))

    @property
    def description(self) -> str:
        """What people, or a captioner, say of the picture, line by line: its caption vector is made of this."""
        return self.inputs.description

    def input_key(self, stage: str) -> str:
        """Return a name for what a stage reads, and for its version; while it is the same, there is nothing to do."""
        return self.inputs.key(stage)


def written_fields(names: Iterable[str]) -> set[str]:
    """Return the columns that are written with these: a file has a version, and a caption somebody who wrote it."""
    return {
        *names,
        *(["file_version"] if "file" in names else []),
        *(["caption_source"] if "caption" in names else []),
    }


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

    def question(self, field: str) -> Question:
        """Return what an encoder of questions needs to know of the space of `image` or `caption` vectors."""
        site = identity.of_database(router.db_for_write(type(self)))
        if field == "caption" and self.caption_encoder is not None:
            return Question(self.pk, field, self.caption_encoder, self.caption_fingerprint, site)
        return Question(self.pk, "image", self.encoder, self.fingerprint, site)

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

    objects = EmbeddingQuerySet.as_manager()

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
    #: Is it to be computed, even where another asset has the same file?
    afresh = models.BooleanField(default=False, db_default=False)
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


class Stray(models.Model):
    """How many messages that were not this site's came to one of its queues, or were answered from one."""

    queue = models.CharField(max_length=100, unique=True)
    number = models.PositiveBigIntegerField(default=0)
    last_at = models.DateTimeField()

    objects = StrayQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.queue}: {self.number}"


class Discard(models.Model):
    """A file that may be of no more use: deleted from the storage when that is due, unless a row has it.

    PostgreSQL writes one, by a trigger, for each file and thumbnail that a row lets go of, in the same transaction.
    """

    name = models.CharField(max_length=255)
    due_at = models.DateTimeField()

    objects = DiscardQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["name"], name="mediasearch_discard_name"),
            models.Index(fields=["due_at", "id"], name="mediasearch_discard_due"),
        ]

    def __str__(self) -> str:
        return self.name
