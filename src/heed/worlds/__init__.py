"""The room ``worlds``."""
