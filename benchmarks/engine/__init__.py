"""The search engine beside the known recipes: recall against brute force, and time against what others do."""
