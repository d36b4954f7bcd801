"""A language of the workstation, brought by code: two words, to begin with."""

from sdterm.hooks import LocalePack, hookimpl

MESSAGES = {
    "Generate": "Generate",
    "Gallery": "Gallery",
}


@hookimpl
def sdterm_locale_packs() -> list[LocalePack]:
    return [LocalePack(id="my_extension", label="My extension", language="xx_XX", messages=MESSAGES)]
