"""A1111's names for settings, and what they are here."""

from collections.abc import Iterable, Mapping

from sdterm.core.names import UnknownNameError, find
from sdterm.core.settings.settings import SETTINGS, SETTINGS_BY_KEY
from sdterm.core.text import printable
from sdterm.fields import FIELDS
from sdterm.messages import message

EQUALS: Mapping[str, str] = {
    **{row.a1111: row.name for row in FIELDS.values() if row.a1111},
    **{setting.a1111: setting.key for setting in SETTINGS if setting.a1111},
}
"""A1111's key → sdterm's setting, or the request's field."""

LATER: Mapping[str, str] = {
    "sd_vae_as_default": message("separate VAE files"),
    "upcast_attn": message("attention in float32"),
    "face_restoration_model": message("face restoration"),
    "code_former_weight": message("face restoration"),
}
"""A1111's key → what it needs that is not there yet."""


def quick(keys: Iterable[str]) -> tuple[list[str], list[str]]:
    """(settings and request fields to pin, in their order; a sentence for each key that cannot be)."""
    found, missing = [], []
    for key in map(str.strip, keys):
        name = EQUALS.get(key, key)
        if key in LATER:
            missing.append(
                message("{setting} cannot be pinned yet: sdterm has no {feature}.", setting=key, feature=LATER[key])
            )
        elif name in SETTINGS_BY_KEY:
            found.append(name)
        else:
            try:
                found.append(
                    find(message("quick setting"), name, {known: known for known in (*FIELDS, *SETTINGS_BY_KEY)})
                )
            except UnknownNameError as error:
                missing.append(
                    message("quicksettings_list: {problem}", problem=error)
                    if key
                    else message("quicksettings_list has an empty name.")
                )
    return [*dict.fromkeys(found)], [printable(sentence, 400) for sentence in missing]
