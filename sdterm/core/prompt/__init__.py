"""The prompt language: A1111's, one file per layer, in the order in which they are read.

`networks` (<lora:…>, taken out first), `composition` (AND), `schedule` ([a:b:0.5], [a|b]), `emphasis` ((a:1.2), BREAK),
`chunks` (of 75 tokens). `lint` tells the traps. Everything is linear in the length of the prompt and takes any text.
"""
