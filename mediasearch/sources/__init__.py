"""Where images come from: the only place that knows a site's own models."""
