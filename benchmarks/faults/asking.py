"""Visitors whose every question has a known answer: all pictures of a small scope, by words or by a vector."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from benchmarks.faults import described

QUESTIONS: Mapping[str, str] = {"text": described.READ.lower(), "image": "red blue white", "caption": "red picture"}
"""What is asked of each signal; each asset has something for it."""
SCOPE, THREADS, PAUSE = 20, 3, 0.05


class Asking:
    """Threads that ask one question after another until they are stopped, and count what was missing."""

    def __init__(self, seed: int, ids: Sequence[int]) -> None:
        self._seed, self._ids = seed, list(ids)
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self.asked: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        """Questions by signal that lacked a hit, or a word's place in the picture."""
        self.errors: Counter[str] = Counter()

    def start(self) -> None:
        self._threads = [threading.Thread(target=self._work, args=[who], daemon=True) for who in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30.0)

    def ask(self, signal: str, ids: Sequence[int]) -> int:
        """Return how many of these assets a question by one signal lacks."""
        import mediasearch
        from mediasearch.models import Asset

        scope = Asset.objects.filter(pk__in=ids)
        hits = list(mediasearch.search(QUESTIONS[signal], scope=scope, weights={signal: 1.0}, limit=len(ids)))
        whole = [hit.asset.pk for hit in hits if signal in hit.signals and (signal != "text" or hit.boxes)]
        return len(set(ids) - set(whole))

    def _work(self, who: int) -> None:
        from django.db import connections

        chance = random.Random(f"{self._seed} {who}")
        while not self._over.is_set():
            signal = chance.choice(list(QUESTIONS))
            try:
                self.lost[signal] += self.ask(signal, chance.sample(self._ids, SCOPE)) > 0
            except Exception as error:  # Whatever it is: a visitor would have seen it.
                self.errors[f"{signal}: {type(error).__name__}: {error}"] += 1
            self.asked[signal] += 1
            time.sleep(PAUSE)
        connections.close_all()
