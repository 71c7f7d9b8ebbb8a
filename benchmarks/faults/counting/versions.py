"""Raises what the stages and the folding of texts declare as their versions, as a later release would."""

from __future__ import annotations

FOLDED = "foldedagain"
"""A word that a raised folding finds in every text."""
_wrapped: list[object] = []


def declared() -> str:
    """Return "" where the code at hand declares versions, else what is missing."""
    from mediasearch import models
    from mediasearch.features import lexemes

    if not hasattr(models, "STAGE_VERSIONS"):
        return "mediasearch.models declares no STAGE_VERSIONS: no stage can be raised"
    return "" if hasattr(lexemes, "VERSION") else "mediasearch.features.lexemes declares no VERSION"


def raise_to(stages: str = "", folding: str = "") -> None:
    """Raise stages, written "read=2,embed_image=2", and folding, "2", in this process. Raises RuntimeError."""
    from mediasearch import models
    from mediasearch.features import lexemes

    if (stages or folding) and (missing := declared()):
        raise RuntimeError(f"{missing}.")
    for one in filter(None, stages.split(",")):
        stage, _, version = one.partition("=")
        models.STAGE_VERSIONS[models.Stage(stage)] = int(version)  # type: ignore[attr-defined]
    if folding and not _wrapped:
        lexemes.VERSION = int(folding)  # type: ignore[attr-defined]
        cut = lexemes.lexemes
        _wrapped.append(cut)

        def cut_again(text: str, start: int = 1) -> list[lexemes.Lexeme]:
            words = cut(text, start)
            return [*words, lexemes.Lexeme(FOLDED, words[-1].position)] if words else words

        lexemes.lexemes = cut_again
