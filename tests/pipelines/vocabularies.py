"""Tokenizers of the classes that pipelines come with, trained in milliseconds on a few prompts.

Each knows any text: what is no word of the prompts is spelled in letters or bytes.
"""

import json
import string
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

import sdterm
from tests.later import Later

transformers: Any = Later("transformers")
TEXTS = (
    "a red house by a lake at sunset, purple mountains in the distance, highly detailed",
    "portrait of an old woman in a green dress, oil painting, soft light",
    "a castle on a hill, meadow, night sky with stars, blurry, low quality",
    "Describe the image by detailing the color, shape, size, texture, quantity, text of the objects and background",
    "Given a user prompt, generate an enhanced prompt that provides detailed visual descriptions",
)
SIZE = 384
_CLIP = Path(sdterm.__file__).parent / "plugins" / "clip"
_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{{ message.content if message.content is string else message.content[0].text }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
)


def whole_clip() -> Any:
    """CLIP's own vocabulary, as SD 1.5 and SDXL have it."""
    return transformers.CLIPTokenizer(
        vocab=str(_CLIP / "vocab.json"), merges=str(_CLIP / "merges.txt"), model_max_length=77
    )


@cache
def clip() -> Any:
    """Byte pairs whose words end with `</w>`, its marks at the end of the vocabulary."""
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=2 * SIZE, initial_alphabet=letters, end_of_word_suffix="</w>", show_progress=False
    )
    vocab, merges = _pairs(transformers.CLIPTokenizer().backend_tokenizer, trainer)
    for token in (*(f"{letter}</w>" for letter in sorted(letters)), "<|startoftext|>", "<|endoftext|>"):
        vocab.setdefault(token, len(vocab))
    return transformers.CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=77)


@cache
def t5() -> Any:
    marks = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=SIZE,
        special_tokens=marks,
        unk_token="<unk>",
        initial_alphabet=list(string.printable),
        show_progress=False,
    )
    pieces = _trained(transformers.T5Tokenizer().backend_tokenizer, trainer)["vocab"]
    return transformers.T5Tokenizer(vocab=[(piece, score) for piece, score in pieces], model_max_length=512)


@cache
def qwen() -> Any:
    """Qwen 2's byte pairs, with its marks of a conversation."""
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    vocab, merges = _pairs(transformers.Qwen2Tokenizer().backend_tokenizer, trainer)
    marks = ("im_start", "im_end", "vision_start", "vision_end", "image_pad", "video_pad")
    tokens = [f"<|{mark}|>" for mark in marks]
    for token in ("<|endoftext|>", *tokens):
        vocab.setdefault(token, len(vocab))
    return transformers.Qwen2Tokenizer(
        vocab=vocab,
        merges=merges,
        eos_token="<|im_end|>",
        extra_special_tokens=tokens,
        chat_template=_CHAT,
        model_max_length=1024,
    )


@cache
def gemma() -> Any:
    """Byte pairs of characters; what no token has is spelled in bytes."""
    marks = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=256 + SIZE, special_tokens=marks, show_progress=False)
    vocab, merges = _pairs(transformers.GemmaTokenizer().backend_tokenizer, trainer)
    return transformers.GemmaTokenizer(vocab=vocab, merges=merges, model_max_length=1024)


@cache
def bert() -> Any:
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=SIZE, special_tokens=marks, initial_alphabet=list(string.printable), show_progress=False
    )
    vocab = _trained(transformers.BertTokenizer().backend_tokenizer, trainer)["vocab"]
    return transformers.BertTokenizer(vocab=vocab, model_max_length=77)


@cache
def glm() -> Any:
    """Byte pairs that pad on the left, of no class of their own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>", "[gMASK]", "<sop>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        padding_side="left",
        model_max_length=1024,
    )


def _pairs(tokenizer: Any, trainer: Any) -> tuple[dict[str, int], list[tuple[str, str]]]:
    model = _trained(tokenizer, trainer)
    return model["vocab"], [(first, second) for first, second in model["merges"]]


def _trained(tokenizer: Any, trainer: Any) -> Any:
    tokenizer.train_from_iterator(TEXTS, trainer)
    return json.loads(tokenizer.to_str())["model"]
