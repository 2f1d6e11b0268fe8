"""heed: reinforcement learning that heeds people.

People compare and people block; heed turns either kind of judgement into learnt judges and into a policy
that balances them.
"""

from heed._extras import name_missing_packages
from heed._moved import find_moved_modules

__version__ = "0.1.0"

find_moved_modules()
name_missing_packages()  # looked at first, also for a module that has old names
