"""Pixels and text to numbers and words. Nothing in this package knows the database."""
