"""Weightings: from the Gram matrix of K gradients to the weights of their combination.

Each is a torchjd `Weighting`, so any of torchjd's plugs in where ours does, and ours plug into torchjd. Their names and
settings are declared in `heed.balance.methods`.
"""
