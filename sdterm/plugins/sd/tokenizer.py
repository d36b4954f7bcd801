"""CLIP's tokenizer, as OpenAI's and as OpenCLIP's code calls it."""

import html
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import ftfy
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

VOCABULARY = Path(__file__).parents[1] / "clip"


def tokenize(text: str) -> list[int]:
    """CLIP's token ids (openai/CLIP simple_tokenizer.py). Text goes through ftfy first, as there: it straightens curly
    quotes and mends wrongly decoded letters."""
    return _ids(ftfy.fix_text(text))


def tokenize_open(text: str) -> list[int]:
    """The same by OpenCLIP (open_clip tokenizer.py), which also reads HTML entities: `&amp;` is `&`."""
    return _ids(html.unescape(html.unescape(ftfy.fix_text(text))))


def vocabulary() -> Mapping[str, int]:
    """Text → token."""
    return _tokenizer().get_vocab()


def _ids(text: str) -> list[int]:
    return _tokenizer().encode(text, add_special_tokens=False).ids


@cache
def _tokenizer() -> Tokenizer:
    """Byte-level BPE with the vocabulary that ships with sdterm."""
    bpe = BPE.from_file(
        str(VOCABULARY / "vocab.json"),
        str(VOCABULARY / "merges.txt"),
        continuing_subword_prefix="",
        end_of_word_suffix="</w>",
        unk_token="<|endoftext|>",
    )
    clip = Tokenizer(bpe)
    clip.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    clip.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), behavior="removed", invert=True
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    clip.decoder = decoders.ByteLevel()
    clip.add_special_tokens(["<|startoftext|>", "<|endoftext|>"])
    return clip
