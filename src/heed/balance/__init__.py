"""The room ``balance``."""
