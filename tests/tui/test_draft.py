"""What stands in the form, as a value, and the way back."""

from sdterm.tui.draft import Draft, Undo


def test_letters_that_follow_each_other_are_taken_back_at_once() -> None:
    undo = Undo(Draft())
    for at, text in ((0.0, "l"), (0.9, "la"), (1.8, "lake"), (3.0, "lake,")):
        undo.change(undo.now.but(prompt=text), "prompt", at)
    undo.change(undo.now.but(steps="21"), "steps", 3.1)
    undo.change(undo.now.but(seed="7"), "", 3.2)
    undo.change(undo.now.but(seed="8"), "", 3.3)
    texts = []
    while before := undo.back():
        texts.append((before.prompt, *before.fields.values()))
    assert texts == [("lake,", "21", "7"), ("lake,", "21"), ("lake,",), ("lake",), ("",)]
    while undo.forth():
        pass
    assert undo.now == Draft("lake,", fields={"steps": "21", "seed": "8"})
