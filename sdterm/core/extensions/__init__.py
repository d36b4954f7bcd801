"""Extensions: found, identified, frozen, checked, installed, loaded. None of their code runs but in `loading`."""
