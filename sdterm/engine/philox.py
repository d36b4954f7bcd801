"""Philox-4x32-10 in software: the normal numbers that torch draws on a CUDA card, on any device.

Sources: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; torch's CUDA normal kernel (one counter per
element, Box-Muller, sine branch), as A1111's rng_philox reproduces it for its "NV" source.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 10
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK = np.uint64(0xFFFFFFFF)
_2_32_INV = np.float64(np.float32(2.3283064e-10))
_2_32_INV_2PI = np.float64(np.float32(2.3283064e-10 * 6.2831855))


def normal(seed: int, offset: int, shape: tuple[int, ...]) -> NDArray[Any]:
    """Standard normal float32 of `shape`: draw number `offset` of the generator seeded with `seed`."""
    n = int(np.prod(shape))
    counter = [
        np.full(n, offset, np.uint64),
        np.zeros(n, np.uint64),
        np.arange(n, dtype=np.uint64),
        np.zeros(n, np.uint64),
    ]
    key = [seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF]
    for _ in range(_ROUNDS):
        product_0 = counter[0] * _MULTIPLIERS[0]  # 32 x 32 bits: exact in 64
        product_1 = counter[2] * _MULTIPLIERS[1]
        counter = [
            (product_1 >> np.uint64(32)) ^ counter[1] ^ np.uint64(key[0]),
            product_1 & _MASK,
            (product_0 >> np.uint64(32)) ^ counter[3] ^ np.uint64(key[1]),
            product_0 & _MASK,
        ]
        key = [(k + w) & 0xFFFFFFFF for k, w in zip(key, _WEYL, strict=True)]
    u = counter[0] * _2_32_INV + _2_32_INV / 2
    v = counter[1] * _2_32_INV_2PI + _2_32_INV_2PI / 2
    return (np.sqrt(-2.0 * np.log(u)) * np.sin(v)).astype(np.float32).reshape(shape)
