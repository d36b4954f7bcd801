"""The prompt language, A1111's dialect, in the order a text goes through it.

`networks`: tags like `<lora:name:0.8>` leave the text. `composition`: `AND` splits it into weighted parts.
`schedule`: `[from:to:when]` and `[a|b]` become one text per stretch of steps. `emphasis`: brackets become weights.
`embeddings`: names of learned words are found. `chunks`: tokens are laid out as the text encoder reads them.
`lint` tells of what parses but does not do what it looks like, `highlight` where the grammar is; `edit` is what keys do
to a text.

No text is refused and none raises. Every span is (start, end) in characters of the text that was given. Work grows
linearly with the text.
"""
