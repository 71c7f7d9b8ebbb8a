"""Which metadata leaves with a picture's file, and the file without the rest of it."""
