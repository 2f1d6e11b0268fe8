"""The room ``compare``."""
