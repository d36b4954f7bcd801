"""The palette's words for every action: its group, its name, and what else users type when they look for it."""

from collections.abc import Mapping
from typing import NamedTuple

from sdterm.tui.actions import Action


class Named(NamedTuple):
    """How the palette calls an action."""

    group: str
    name: str
    words: str = ""
    """More words by which it is found, in English; A1111's among them."""


NAMES: Mapping[str, Named] = {
    "generate": Named("Generate", "Generate", "draw create make image picture run start submit txt2img"),
    "stop": Named("Generate", "Stop", "interrupt cancel abort halt end"),
    "stop_after": Named("Generate", "Stop after this image", "interrupt skip end last"),
    "lock_seed": Named("Generate", "Lock seed", "reuse keep fix fixed random unlock"),
    "reroll": Named("Generate", "New seed", "reroll random another dice"),
    "walk_up": Named("Generate", "Seed plus one", "next walk up"),
    "walk_down": Named("Generate", "Seed minus one", "previous walk down"),
    "variations": Named("Generate", "Variations", "vary similar variants alike"),
    "repeat_last": Named("Generate", "Repeat the last job", "again same redo"),
    "forever": Named("Generate", "Generate forever", "endless loop continuous infinite"),
    "undo": Named("Prompt", "Undo", "revert back mistake restore"),
    "redo": Named("Prompt", "Redo", "again forward"),
    "clear_prompt": Named("Prompt", "Clear the prompt", "empty delete erase remove reset new blank"),
    "history": Named("Prompt", "Prompt history", "search earlier recent prompts before"),
    "older_prompt": Named("Prompt", "Older prompt", "previous earlier last back"),
    "newer_prompt": Named("Prompt", "Newer prompt", "next later forward"),
    "paste": Named("Prompt", "Paste an infotext", "png info import read load file parameters drop image"),
    "edit_outside": Named("Prompt", "Edit in $EDITOR", "external outside vim emacs nano"),
    "emphasis_up": Named("Prompt", "More weight", "emphasis stronger attention heavier increase"),
    "emphasis_down": Named("Prompt", "Less weight", "emphasis weaker attention lighter decrease"),
    "phrase_left": Named("Prompt", "Move phrase left", "reorder order"),
    "phrase_right": Named("Prompt", "Move phrase right", "reorder order"),
    "insert_network": Named(
        "Prompt", "Insert a LoRA …", "network networks hypernetwork embedding lycoris textual inversion extra"
    ),
    "complete": Named("Prompt", "Complete", "autocomplete suggest tags styles networks lora embeddings"),
    "fix": Named("Prompt", "Fix", "mend repair syntax warning brackets trap"),
    "load": Named("Image", "Load everything", "send parameters use take restore settings"),
    "img2img": Named("Image", "Send to img2img", "init image source start i2i picture"),
    "mask_picture": Named("Image", "Send to inpaint", "draw a mask inpainting paint brush region area detail repair"),
    "hires": Named("Image", "Hires fix", "hires fix larger bigger resolution detail second pass"),
    "upscale": Named("Image", "Upscale it (extras)", "upscaler larger bigger enlarge resolution extras esrgan"),
    "before_after": Named("Image", "Before and after", "source original flip difference init image"),
    "take_seed": Named("Image", "Take its seed", "reuse use"),
    "take_prompt": Named("Image", "Take its prompts", "reuse use words text"),
    "take_parameters": Named("Image", "Take its parameters", "reuse use settings"),
    "repeat": Named("Image", "Generate it again", "repeat same redo"),
    "vary": Named("Image", "Vary it", "variations similar variants"),
    "copy_parameters": Named("Image", "Copy infotext", "clipboard yank parameters generation data"),
    "copy_prompt": Named("Image", "Copy prompt", "clipboard yank words text"),
    "open_in_tab": Named("Image", "Open in a new tab", "full size browser window save download"),
    "copy_path": Named("Image", "Copy path", "clipboard yank file name location where saved folder"),
    "copy_by_hand": Named("Image", "Select by hand", "copy copied selection mouse tmux text"),
    "empty_trash": Named("Image", "Empty trash", "purge clean disk space deleted rubbish bin for good"),
    "preview_mode": Named(
        "Image", "Preview mode", "pictures images graphics sixel kitty half blocks off hide show live"
    ),
    "show_preview": Named("Image", "Large image", "zoom fullscreen full big enlarge view preview image only"),
    "filter": Named("Gallery", "Filter", "search find"),
    "thumbnails": Named("Gallery", "Wall", "thumbnails small pictures grid tiles list table"),
    "large": Named("Gallery", "Large image", "zoom fullscreen full big enlarge view preview image only"),
    "sort": Named("Gallery", "Sort by the next column", "order ascending descending by"),
    "sort_back": Named("Gallery", "Reverse the order", "sort ascending descending other way newest oldest"),
    "fold": Named("Gallery", "Fold this job", "unfold collapse expand open batch group"),
    "fold_all": Named("Gallery", "Fold all jobs", "unfold collapse expand open batches group"),
    "choose_columns": Named("Gallery", "Columns", "choose show hide order width table"),
    "hold_queue": Named("Queue", "Hold the queue", "pause resume wait freeze unpause"),
    "move_up": Named("Queue", "Move up", "earlier sooner first priority"),
    "move_down": Named("Queue", "Move down", "later priority"),
    "hold": Named("Queue", "Hold this job", "pause resume wait unpause"),
    "cancel": Named("Queue", "Cancel this job", "stop delete remove abort kill"),
    "retry": Named("Queue", "Retry", "again repeat failed"),
    "edit_job": Named("Queue", "Edit this job", "change load request form"),
    "remedy": Named("Queue", "Why it failed", "error reason help remedy"),
    "go_generate": Named("Go to", "Prompt", "form write home txt2img back main"),
    "go_gallery": Named("Go to", "Gallery", "pictures images history browse saved files outputs"),
    "go_queue": Named("Go to", "Queue", "jobs waiting progress failed list"),
    "go_models": Named("Go to", "Models", "checkpoints checkpoint safetensors weights ckpt load switch"),
    "go_extensions": Named("Go to", "Extensions", "plugins plugin addons scripts install"),
    "go_settings": Named("Go to", "Settings", "options preferences config configuration"),
    "go_help": Named("Go to", "Help", "keys shortcuts bindings hotkeys manual usage"),
    "messages": Named("Go to", "Messages", "log errors warnings notifications said history"),
    "share_address": Named(
        "Go to", "Share address", "qr code link url tunnel public remote phone browser listen gradio"
    ),
    "jump": Named("Go to", "Jump to a field", "focus label letter"),
    "all_parameters": Named("Go to", "All parameters", "advanced options clip skip eta request more"),
    "load_model": Named("Model", "Load this checkpoint", "use switch"),
    "unload": Named("Model", "Unload the model", "free memory vram ram gpu"),
    "verify_hash": Named("Model", "Compute its hash", "sha256 checksum"),
    "add_model": Named("Model", "Add a model", "download install hugging face civitai url fetch"),
    "stop_adding": Named("Model", "Stop adding a model", "cancel download abort"),
    "edit_setting": Named("Settings", "Change this setting", "edit value"),
    "reset_setting": Named("Settings", "Reset this setting", "default undo"),
    "search_settings": Named("Settings", "Search settings", "find filter"),
    "changed_only": Named("Settings", "Changed settings only", "filter modified"),
    "translation_template": Named("Settings", "Translate sdterm", "language localization template translation"),
    "switch_extension": Named("Extension", "Switch it on or off", "enable disable toggle"),
    "install_extension": Named("Extension", "Install an extension", "update add plugin download"),
    "trust_extension": Named("Extension", "Approve its change", "trust accept"),
    "remove_extension": Named("Extension", "Remove this extension", "delete uninstall"),
    "suspend": Named("sdterm", "Suspend to the shell", "background ctrl z stop fg job"),
    "quit": Named("sdterm", "Quit", "exit leave close detach bye"),
}
"""By the action's id."""
_GROUPS = {"prompt": "Prompt", "pictures": "Image", "gallery": "Gallery", "queue": "Queue", "models": "Model"}


def unnamed(action: Action) -> Named:
    """What an action is called that is not among the names: by its place and its word in the key bar."""
    return Named(_GROUPS.get(action.scope, "sdterm"), action.hint or action.id.replace("_", " ").capitalize())
