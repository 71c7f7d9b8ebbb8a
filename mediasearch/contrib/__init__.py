"""Ways to other packages; each works where that package is installed, and nothing else imports it."""
