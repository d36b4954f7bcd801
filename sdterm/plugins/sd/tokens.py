"""How CLIP reads a text: known without loading a tokenizer."""

from sdterm.hooks import TokenRules

TOKENS = TokenRules(start=49406, end=49407, pad=49407, comma=267)


def tokenize(text: str) -> list[int]:
    """CLIP's token ids, without start, end and padding."""
    from sdterm.plugins.sd.tokenizer import tokenize

    return tokenize(text)


def tokenize_open(text: str) -> list[int]:
    """OpenCLIP's."""
    from sdterm.plugins.sd.tokenizer import tokenize_open

    return tokenize_open(text)
