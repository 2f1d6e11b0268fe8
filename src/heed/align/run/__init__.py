"""One alignment run, as `heed align` makes it."""
