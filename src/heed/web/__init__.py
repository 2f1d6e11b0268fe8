"""The pages where people judge and watch: one app, its authentication and connections, and each page's server.

`serve` is all that a script needs to have a person as its overseer.
"""

from heed.web.compare import CompareServer
from heed.web.limits import Limits
from heed.web.people import People
from heed.web.served import ServedOverseer, serve
from heed.web.serving import Tls, serving
from heed.web.tokens import Tokens
from heed.web.watch import WatchServer

__all__ = ["CompareServer", "Limits", "People", "ServedOverseer", "Tls", "Tokens", "WatchServer", "serve", "serving"]
