"""A text as a QR code, for a terminal."""

import io


def qr_code(text: str) -> list[str]:
    """It in half blocks, line by line, drawn for light letters on a dark ground."""
    import segno

    drawn = io.StringIO()
    segno.make(text, micro=False).terminal(drawn, compact=True)
    return drawn.getvalue().splitlines()
