"""Numbers as people type them."""

_DIGITS = 19  # as many as 2**63 has; Python refuses to read some thousand


def whole_number(text: str) -> int:
    """Of digits alone, below 2**63; -1 for everything else."""
    number = int(text) if len(text) <= _DIGITS and text.isdecimal() else -1
    return number if number < 2**63 else -1
