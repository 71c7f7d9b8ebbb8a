"""The write path: an upload becomes jobs, jobs become features, features become rows."""
