"""`python -m benchmarks.descriptions FOLDER`: what a caption vector finds that is made of title and caption.

FOLDER is as for `benchmarks.parity`. Each ordered pair of a photograph's five captions is its caption and its title
once, and the other three are asked; mini-clip's text tower, exact ranking.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np

MADE_OF: dict[str, Callable[[str, str], str]] = {
    "the caption": lambda title, caption: caption,
    "title, then caption": lambda title, caption: f"{title}\n{caption}",
    "caption, then title": lambda title, caption: f"{caption}\n{title}",
    "a title of three words, then caption": lambda title, caption: f"{_short(title)}\n{caption}",
    "a title of three words": lambda title, caption: _short(title),
}


def main(folder: Path) -> None:
    from mediasearch.features.openclip import OpenClip
    from project.miniclip.assemble import assemble

    place = Path(__file__).resolve().parent.parent / ".bench" / "mini-clip"
    assemble(place)
    encoder = OpenClip(f"local-dir:{place}")
    captions = [entry["captions"] for entry in json.loads((folder / "captions.json").read_text())]
    questions = [encoder.encode_texts([photo[number] for photo in captions]) for number in range(5)]
    for name, made_of in MADE_OF.items():
        found = []
        for title, caption in permutations(range(5), 2):
            stored = encoder.encode_texts([made_of(photo[title], photo[caption]) for photo in captions])
            found += [_first(questions[n], stored) for n in set(range(5)) - {title, caption}]
        print(f"made of {name}: R@1 {np.mean(found):.3f}")


def _first(questions: np.ndarray, stored: np.ndarray) -> float:
    """R@1: how often the nearest is the own one."""
    nearest: Sequence[int] = (questions @ stored.T).argmax(axis=1)
    return float(np.mean(nearest == np.arange(len(stored))))


def _short(title: str) -> str:
    return " ".join(title.split()[:3])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Usage: python -m benchmarks.descriptions FOLDER")
    main(Path(sys.argv[1]))
