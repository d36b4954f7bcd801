"""What stands in the form, as a value, and the way back."""

from sdterm.tui.draft import Draft, Undo


def test_letters_that_follow_each_other_are_taken_back_at_once() -> None:
    undo = Undo(Draft())
    for at, text in ((0.0, "l"), (0.9, "la"), (1.8, "lake"), (3.0, "lake,")):
        undo.change(undo.now.but(prompt=text), "typing", at, "prompt")
    undo.change(undo.now.but(steps="21"), "Steps", 3.1, "steps")
    undo.change(undo.now.but(seed="7"), "reroll", 3.2)
    undo.change(undo.now.but(seed="8"), "walk", 3.3)
    names, texts = [], []
    while name := undo.back():
        names.append(name)
        texts.append((undo.now.prompt, *undo.now.fields.values()))
    assert names == ["walk", "reroll", "Steps", "typing", "typing"]
    assert texts == [("lake,", "21", "7"), ("lake,", "21"), ("lake,",), ("lake",), ("",)]
    while undo.forth():
        pass
    assert undo.now == Draft("lake,", fields={"steps": "21", "seed": "8"})
