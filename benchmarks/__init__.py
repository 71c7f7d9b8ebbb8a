"""Measurements of the real parts; each prints its figures, and RESULTS.md keeps them."""
