"""The append-only store of judgements, its audit chain, and what is read and taken out of it."""
