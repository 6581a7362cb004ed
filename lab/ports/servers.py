"""Real servers, as far as those who start a run must know of them.

Not here: what is done with a server (`bus`, `store`, `dedupe`), and what may go wrong in the middle
of a run (`lab.domain.errors`).
"""


class ServerUnusable(Exception):
    """A server that a run needs cannot be used at all, so nothing was started.

    Raised at start only. The message names the server with host and port and what to do about it;
    it never holds a password.
    """
