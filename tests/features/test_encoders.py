"""What every encoder must do; the fake one, and a real model through open_clip."""

from __future__ import annotations

import io
import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mediasearch.exceptions import EncoderUnavailable
from mediasearch.features import child, images
from mediasearch.features import openclip as openclip_module
from mediasearch.features.base import Encoder
from mediasearch.features.fake import FakeEncoder
from mediasearch.features.openclip import OpenClip
from project.library import catalog
from project.miniclip.assemble import AssemblyError, assemble


@pytest.fixture(scope="session")
def miniclip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return assemble(tmp_path_factory.mktemp("models") / "mini-clip")


@pytest.fixture(scope="session")
def openclip(miniclip: Path) -> OpenClip:
    return OpenClip(f"local-dir:{miniclip}")


@pytest.fixture(params=["fake", "openclip"])
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return FakeEncoder() if request.param == "fake" else request.getfixturevalue("openclip")


@pytest.fixture(scope="session")
def photographs() -> dict[str, Image.Image]:
    return {p.key: Image.open(p.path).convert("RGB") for p in catalog.pictures() if not p.lines}


def noise(seed: int, size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))


def test_encode__shapes_and_norms(encoder: Encoder) -> None:
    for vectors in (
        encoder.encode_images([noise(1, (64, 48)), noise(2, (300, 500))]),
        encoder.encode_texts(["a red car", ""]),
    ):
        assert vectors.shape == (2, encoder.dimensions)
        assert vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1], abs=1e-3)


def test_encode__one_by_one_as_in_a_batch(encoder: Encoder) -> None:
    pictures = [noise(seed, (224 + seed, 224)) for seed in range(4)]
    texts = ["a cat", "a long sentence about a dog that sleeps on a red sofa", "x"]
    for encode, items in ((encoder.encode_images, pictures), (encoder.encode_texts, texts)):
        together = encode(items)  # type: ignore[operator]
        apart = np.concatenate([encode([item]) for item in items])  # type: ignore[operator]
        assert (together * apart).sum(axis=1).min() > 0.99999


def test_encode__is_deterministic(encoder: Encoder) -> None:
    assert np.array_equal(encoder.encode_texts(["a red car"]), encoder.encode_texts(["a red car"]))


def test_encode__hostile_text(encoder: Encoder) -> None:
    assert np.isfinite(encoder.encode_texts(["\x00", "🚗" * 500, "word " * 5_000])).all()


def test_fingerprint__is_stable_and_names_the_model(encoder: Encoder) -> None:
    assert encoder.fingerprint == encoder.fingerprint
    assert ("fake" in encoder.fingerprint) or ("mini-clip" in encoder.fingerprint)


def test_openclip__equals_plain_open_clip(openclip: OpenClip, miniclip: Path) -> None:
    import open_clip
    import torch

    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{miniclip}", require_pretrained=True)
    model.eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{miniclip}")
    image = noise(3, (400, 300))
    with torch.inference_mode():
        plain_image = model.encode_image(preprocess(image)[None], normalize=True).numpy()
        plain_text = model.encode_text(tokenizer(["a red car"]), normalize=True).numpy()
    assert np.abs(openclip.encode_images([image]) - plain_image).max() < 1e-5
    assert np.abs(openclip.encode_texts(["a red car"]) - plain_text).max() < 1e-5


def test_openclip__two_threads_load_a_model_once_and_two_models_at_the_same_time(
    miniclip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (OpenClip(f"local-dir:{miniclip}", threads=1) for _ in range(2))
    both, loaded, load = threading.Barrier(2), [], openclip_module._Loaded

    def loading(encoder: OpenClip) -> Any:
        loaded.append(encoder)
        both.wait(10)
        return load(encoder)

    monkeypatch.setattr(openclip_module, "_Loaded", loading)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda encoder: encoder.dimensions, [first, second, first, second]))
    assert sorted(map(id, loaded)) == sorted(map(id, [first, second]))


def test_openclip__texts_alone_once_images_are_forgotten(miniclip: Path, openclip: OpenClip) -> None:
    texts_only = OpenClip(f"local-dir:{miniclip}")
    texts_only.forget_images()
    assert np.array_equal(texts_only.encode_texts(["a cat"]), openclip.encode_texts(["a cat"]))
    assert texts_only.fingerprint == openclip.fingerprint
    with pytest.raises(EncoderUnavailable, match="words only"):
        texts_only.encode_images([noise(1, (64, 48))])


def test_openclip__tells_photographs_apart(openclip: OpenClip, photographs: dict[str, Image.Image]) -> None:
    keys = list(photographs)
    vectors = openclip.encode_images(list(photographs.values()))
    for question, expected in (("a cat", "cat"), ("a motorbike", "motorcycle"), ("a rocket launch", "rocket")):
        scores = vectors @ openclip.encode_texts([question])[0]
        assert expected in keys[int(scores.argmax())]


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_openclip__large_files_decoded_small_have_the_same_vectors(
    openclip: OpenClip, photographs: dict[str, Image.Image], form: str
) -> None:
    chosen = ("cat", "coffee", "lakeside-tower", "rocket", "motorcycle-left")
    files = [_as_a_camera_would(photographs[name], form) for name in chosen]
    small = [_pixels(file, 3 * openclip.input_size, openclip.input_size) for file in files]
    whole = [Image.open(io.BytesIO(file)) for file in files]
    assert max(min(image.size) for image in small) < 0.6 * min(min(image.size) for image in whole)
    cosines = (openclip.encode_images(small) * openclip.encode_images(whole)).sum(axis=1)
    assert cosines.min() >= 0.999


def _as_a_camera_would(image: Image.Image, form: str) -> bytes:
    """A file of several million pixels, with grain as fine as they are."""
    scale = 1_400 / min(image.size)
    large = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    grain = np.random.default_rng(1).normal(0, 3, (large.height, large.width, 1))
    stream = io.BytesIO()
    noisy = np.clip(np.asarray(large) + grain, 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(stream, form, quality=90, compress_level=1)
    return stream.getvalue()


def _pixels(file: bytes, shortest_side: int, input_size: int) -> Image.Image:
    """What the worker gives to an encoder."""
    options = {"shortest_side": shortest_side, "input_size": input_size, **asdict(images.Limits())}
    answer, raw = child.pixels(file, options)
    return Image.frombytes("RGB", (answer["width"], answer["height"]), raw)


def test_openclip__a_strip_of_any_length_has_a_vector(openclip: OpenClip) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (60_000, 1), "red").save(stream, "PNG")
    assert np.isfinite(openclip.encode_images([_pixels(stream.getvalue(), 672, 224)])).all()


def test_openclip__fingerprint_follows_the_weights(openclip: OpenClip, miniclip: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    moved = tmp_path / "mini-clip"
    shutil.copytree(miniclip, moved)
    assert OpenClip(f"local-dir:{moved}").fingerprint == openclip.fingerprint
    weights = load_file(moved / "open_clip_model.safetensors")
    weights["visual.head.proj.bias"] += 0.001
    save_file(weights, moved / "open_clip_model.safetensors")
    assert OpenClip(f"local-dir:{moved}").fingerprint != openclip.fingerprint


@pytest.mark.parametrize(
    ("arguments", "languages"),
    [
        ({"model": "ViT-B-32", "pretrained": "openai"}, {"en"}),
        ({"model": "xlm-roberta-base-ViT-B-32", "pretrained": "laion5b_s13b_b90k"}, None),
        ({"model": "ViT-B-16-SigLIP2", "pretrained": "webli"}, None),
        ({"model": "ViT-B-32", "pretrained": "x", "languages": ["en", "zh"]}, {"en", "zh"}),
        ({"model": "ViT-B-32", "pretrained": "x", "languages": None}, None),
    ],
)
def test_openclip__languages(arguments: dict[str, object], languages: set[str] | None) -> None:
    assert OpenClip(**arguments).languages == languages  # type: ignore[arg-type]


def test_openclip__languages_of_a_folder(openclip: OpenClip) -> None:
    assert openclip.languages == {"en"}


@pytest.mark.parametrize("model", ["local-dir:/nowhere", "no-such-model"])
def test_openclip__missing_weights_are_one_sentence(model: str) -> None:
    with pytest.raises(EncoderUnavailable, match="MEDIASEARCH"):
        _ = OpenClip(model, pretrained="none").dimensions


def test_openclip__a_damaged_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text("{")
    with pytest.raises(EncoderUnavailable, match="could not be loaded"):
        _ = OpenClip(f"local-dir:{tmp_path}").dimensions


def test_assemble__leaves_a_whole_folder_alone(miniclip: Path) -> None:
    before = (miniclip / "open_clip_model.safetensors").stat().st_mtime_ns
    assert assemble(miniclip) == miniclip
    assert (miniclip / "open_clip_model.safetensors").stat().st_mtime_ns == before
    assert json.loads((miniclip / "mediasearch.json").read_text())["notice"]


def test_assemble__a_missing_part_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("project.miniclip.assemble.find_spec", lambda name: None)
    with pytest.raises(AssemblyError, match=r"pip install mediasearch\[demo\]"):
        assemble(tmp_path / "mini-clip")
