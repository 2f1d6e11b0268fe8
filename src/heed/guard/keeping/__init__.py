"""A guard kept in a folder: what it is made of, what of it is code, and its policy in plain layers."""
