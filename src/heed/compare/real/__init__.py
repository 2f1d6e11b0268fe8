"""A real model and people's own judgements: from a wheel and comparisons to a table of methods.

``heed demo --real`` runs it; each stage is a module, lies in a folder of its own, and is made once.
"""
