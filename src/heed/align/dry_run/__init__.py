"""A look at a run before it is started: what is missing, what memory it takes, and one step of a shrunken model."""
