"""Counts doorbells and effects from outside the app: an app of the experiments alone."""
