"""Any model that open_clip can load: by name and pretrained tag, or from a folder through `local-dir:`."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediasearch.exceptions import EncoderUnavailable
from mediasearch.features.base import Encoder, Problem
from mediasearch.features.loading import loaded_property

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

LOCAL = "local-dir:"
_MULTILINGUAL = ("xlm", "nllb", "mt5", "siglip2", "i18n")


class OpenClip(Encoder):
    """An open_clip model, loaded when first used.

    `model` is a name that open_clip knows ("ViT-B-32"), `hf-hub:owner/name` or `local-dir:/a/folder`; `pretrained`
    the tag of its weights, needed with a plain name. `languages` are the ISO 639-1 codes that its text tower reads,
    None for any; left out, it is what the folder's `mediasearch.json` says, any for models known to be multilingual,
    else English. `device` is "cpu", "cuda", or "auto"; `threads` bounds torch's own (0 leaves them alone).
    """

    def __init__(
        self,
        model: str,
        pretrained: str | None = None,
        languages: Sequence[str] | str | None = "auto",
        device: str = "auto",
        precision: str = "fp32",
        threads: int = 0,
        cache_dir: str | None = None,
    ) -> None:
        self.model, self.pretrained, self.precision = model, pretrained, precision
        self.device, self.threads, self.cache_dir = device, threads, cache_dir
        self.languages = self._languages(languages)

    @property
    def folder(self) -> Path | None:
        """The folder of a local model."""
        return Path(self.model.removeprefix(LOCAL)) if self.model.startswith(LOCAL) else None

    @loaded_property
    def notes(self) -> dict[str, Any]:
        """What a local model's `mediasearch.json` says: `languages`, and a `notice` where it is not for real use."""
        path = self.folder / "mediasearch.json" if self.folder else None
        notes: dict[str, Any] = json.loads(path.read_text()) if path and path.is_file() else {}
        return notes

    def check(self) -> list[Problem]:
        if self.folder and not (self.folder / "open_clip_config.json").is_file():
            return [
                Problem(
                    f"There is no open_clip model in {self.folder}.",
                    'Correct the folder in MEDIASEARCH["ENCODER"]["OPTIONS"]["model"]; the demo\'s model is assembled'
                    " by `python -m project.miniclip FOLDER`.",
                    "weights-missing",
                )
            ]
        if not self.folder and ":" not in self.model and not self.pretrained:
            return [
                Problem(
                    f"The encoder {self.model} has no weights.",
                    'Name them: MEDIASEARCH["ENCODER"]["OPTIONS"]["pretrained"] = "laion2b_s34b_b79k", for example.',
                    "weights-missing",
                )
            ]
        notice = self.notes.get("notice")
        return (
            [Problem(notice, 'Choose a model in MEDIASEARCH["ENCODER"] and reindex.', "demo-model")] if notice else []
        )

    @property
    def dimensions(self) -> int:
        return self._loaded.dimensions

    @property
    def fingerprint(self) -> str:
        return self._loaded.fingerprint

    @property
    def input_size(self) -> int:
        return self._loaded.input_size

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        loaded = self._loaded
        if loaded.model.visual is None:
            raise EncoderUnavailable("The query worker encodes words only; its setting and this process's differ.")
        with loaded.torch.inference_mode():
            batch = loaded.torch.stack([loaded.preprocess(image) for image in images])
            features = loaded.model.encode_image(batch.to(loaded.device, loaded.dtype), normalize=True)
        return _as_array(features)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        loaded = self._loaded
        with loaded.torch.inference_mode():
            features = loaded.model.encode_text(loaded.tokenizer(list(texts)).to(loaded.device), normalize=True)
        return _as_array(features)

    def forget_images(self) -> None:
        self._loaded.model.visual = None

    @loaded_property
    def _loaded(self) -> _Loaded:
        try:
            return _Loaded(self)
        except EncoderUnavailable:
            raise
        except Exception as error:  # open_clip and the hub raise what they like; one sentence is owed all the same.
            raise EncoderUnavailable(
                f"The encoder {self.model} could not be loaded ({type(error).__name__}: {error})."
                ' Look at MEDIASEARCH["ENCODER"].'
            ) from error

    def _languages(self, languages: Sequence[str] | str | None) -> frozenset[str] | None:
        if languages == "auto":
            languages = self.notes.get("languages", "auto")
        if languages == "auto":
            return None if any(mark in self.model.lower() for mark in _MULTILINGUAL) else frozenset({"en"})
        return None if languages is None else frozenset([languages] if isinstance(languages, str) else languages)


class _Loaded:
    """A model in memory, with what it takes to use it."""

    def __init__(self, options: OpenClip) -> None:
        if options.folder:
            os.environ.setdefault("HF_HUB_OFFLINE", "1")  # A local model must never wait for a hub.
        try:
            import open_clip
            import torch
        except ImportError as error:
            raise EncoderUnavailable("open_clip is not installed here: `pip install mediasearch[worker]`.") from error
        if problems := [p for p in options.check() if p.name == "weights-missing"]:
            raise EncoderUnavailable(f"{problems[0].message} {problems[0].hint}")
        logging.getLogger("open_clip").setLevel(logging.WARNING)
        if options.threads:
            torch.set_num_threads(options.threads)
        self.torch = torch
        chosen = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(chosen if options.device == "auto" else options.device)
        self.model, _, self.preprocess = open_clip.create_model_and_transforms(
            options.model,
            pretrained=options.pretrained,
            precision=options.precision,
            device=self.device,
            cache_dir=options.cache_dir,
            require_pretrained=True,
            weights_only=True,
        )
        self.model.eval()
        self.dtype = next(self.model.visual.parameters()).dtype
        self.tokenizer = open_clip.get_tokenizer(options.model, cache_dir=options.cache_dir)
        size = self.model.visual.image_size
        self.input_size = int(min(size) if isinstance(size, tuple | list) else size)
        self.fingerprint = self._fingerprint(options)
        self.dimensions = int(self._probe().shape[-1])

    def _probe(self) -> Any:
        with self.torch.inference_mode():
            return self.model.encode_text(self.tokenizer(["a picture"]).to(self.device))

    def _fingerprint(self, options: OpenClip) -> str:
        """Hash the weights as loaded, so that it matters neither where they lie nor how they are packed."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(self.torch.uint8).numpy().data)
        digest.update(repr(self.preprocess).encode())
        name = options.folder.name if options.folder else options.model
        return f"{name}/{options.pretrained or ''}/{options.precision}/{digest.hexdigest()[:32]}"


def _as_array(features: Any) -> NDArray[np.float32]:
    array: NDArray[np.float32] = features.float().cpu().numpy()
    return array
