"""The room ``align``."""
