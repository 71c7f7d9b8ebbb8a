"""The demo's small encoder: assembled once from two packages of PyPI and a head, so that no model hub is asked."""
