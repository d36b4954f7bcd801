"""A text as a QR code, for a terminal."""

from sdterm.core.qr_code import qr_code


def test_an_address_is_a_square_of_half_blocks() -> None:
    rows = qr_code("https://example.org")
    assert len({len(row) for row in rows}) == 1 and {*"".join(rows)} <= {*" ▀▄█"}
    assert abs(len(rows[0]) - 2 * len(rows)) <= 1
