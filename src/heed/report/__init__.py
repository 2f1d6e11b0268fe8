"""The room ``report``."""
