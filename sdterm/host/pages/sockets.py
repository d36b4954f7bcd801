"""The socket of a page, as the server of the port speaks to it."""

from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
from wsproto.connection import ConnectionState


class PageSocket(WSProtocol):
    """One whose connection may outlive it: over TLS a browser that has closed the socket says goodbye later."""

    def shutdown(self) -> None:
        """Close it when the server ends. uvicorn (0.54) fails where the page has closed it already, and then closes no
        other."""
        if self.conn.state is not ConnectionState.CLOSED:
            super().shutdown()
