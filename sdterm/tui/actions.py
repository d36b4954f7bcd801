"""Everything that a key can do: the one table behind bindings, key bar, palette, help and keymap files."""

from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding

from sdterm.core.settings.settings import Settings

SCOPES = (
    "anywhere",
    "prompt",
    "field",
    "pictures",
    "gallery",
    "compare",
    "mask",
    "queue",
    "models",
    "settings",
    "extensions",
)
"""Where an action's keys are heard; `pictures` is every place where a picture is chosen."""


@dataclass(frozen=True)
class Action:
    """One thing to do. `id` is its name in keymap files; the method is `action_<id>`."""

    id: str
    scope: str
    keys: str
    """By Textual's names, separated by commas. One of them passes through tmux and every common terminal."""
    hint: str
    """Its word in the key bar; empty if it is not shown there."""
    title: str
    palette: bool = True
    """Whether the palette offers it (moving about in a list is no command)."""
    only: Literal["", "near", "terminal", "page"] = ""
    """Where alone it is there: where the host is this machine's, in a terminal of the user's own, in a web page."""


# Shift+F6 and Shift+F7 arrive as F18 and F19 from terminals with the older escape codes; Alt+B and Alt+F as Ctrl+Left
# and Ctrl+Right: those two can mean nothing else.
ACTIONS: tuple[Action, ...] = (
    Action("generate", "anywhere", "f5,ctrl+g,ctrl+enter", "Generate", "Generate an image from the prompt"),
    Action("stop", "anywhere", "escape", "Stop", "Interrupt the running job; press it twice"),
    Action("lock_seed", "anywhere", "f6", "Lock", "Reuse the last seed, or take a random one for each job"),
    Action("reroll", "anywhere", "f7", "New seed", "Generate with a new random seed"),
    Action("walk_up", "anywhere", "shift+f7,f19,ctrl+pageup", "", "Generate with the next seed"),
    Action("walk_down", "anywhere", "shift+f6,f18,ctrl+pagedown", "", "Generate with the previous seed"),
    Action("variations", "anywhere", "f8,alt+v", "Vary", "Generate five variations of the last image"),
    Action("repeat_last", "anywhere", "f9", "", "Repeat the last job"),
    Action("forever", "anywhere", "alt+g", "", "Generate again and again until you stop it"),
    Action("stop_after", "anywhere", "alt+s", "", "Stop once the current image is finished"),
    Action("go_generate", "anywhere", "f2", "", "Generate: write a prompt"),
    Action("go_gallery", "anywhere", "f3", "", "Gallery: saved images"),
    Action("go_queue", "anywhere", "f4", "", "Queue: jobs that wait, run, failed"),
    Action("go_models", "anywhere", "ctrl+l", "", "Models: checkpoints, VAEs, networks, embeddings"),
    Action("insert_network", "anywhere", "alt+n", "", "Insert a LoRA, hypernetwork or embedding into the prompt"),
    Action("go_extensions", "anywhere", "alt+x", "", "Extensions: what others wrote"),
    Action("go_settings", "anywhere", "f10,alt+o", "", "Settings"),
    Action("go_help", "anywhere", "f1,question_mark", "Help", "The keys of this place, then all others"),
    Action("all_parameters", "anywhere", "ctrl+t", "", "All parameters of the request"),
    Action("recent", "anywhere", "alt+r", "Recent", "Recent: the latest images; Alt+1 to Alt+9 choose one"),
    Action("messages", "anywhere", "alt+l", "", "Every message of this session, in full"),
    Action("history", "anywhere", "ctrl+r", "Hist", "Search the prompts used so far"),
    Action("older_prompt", "anywhere", "alt+pageup,ctrl+shift+up", "", "The prompt used before this one"),
    Action("newer_prompt", "anywhere", "alt+pagedown,ctrl+shift+down", "", "The prompt used after this one"),
    Action("more_options", "anywhere", "alt+m", "", "All options of sampler, schedule, plugins and file format"),
    Action("jump", "anywhere", "ctrl+o,f12", "Jump", "Jump to a field by its letter"),
    Action("edit_outside", "anywhere", "alt+e", "", "Write the prompt in your own editor", only="terminal"),
    Action("paste", "anywhere", "alt+i", "", "Read an infotext or an image's path into the form"),
    Action("clear_prompt", "anywhere", "alt+c", "", "Empty the prompt and the negative prompt"),
    Action("undo", "anywhere", "ctrl+z", "", "Undo the last change of prompt or parameters"),
    Action("redo", "anywhere", "ctrl+y", "", "Redo what was undone"),
    Action("preview_mode", "anywhere", "alt+p", "", "Change how images are shown"),
    Action("show_preview", "anywhere", "alt+w", "", "Show the image alone, as large as it fits"),
    Action(
        "share_address",
        "anywhere",
        "alt+q",
        "",
        "The address by which others reach sdterm, with its QR code",
        only="terminal",
    ),
    Action("copy_by_hand", "anywhere", "alt+y", "", "The text copied last, to select in the terminal"),
    Action("command_palette", "anywhere", "ctrl+p", "Commands", "Find a command by its words", palette=False),
    Action("suspend", "anywhere", "alt+z", "", "Go to the shell; fg comes back (Ctrl+Z is undo)", only="terminal"),
    Action("quit", "anywhere", "ctrl+q", "Quit", "Leave; a running job continues"),
    Action("emphasis_up", "prompt", "ctrl+up,alt+up", "+Weight", "More weight for the word or selection"),
    Action("emphasis_down", "prompt", "ctrl+down,alt+down", "", "Less weight for the word or selection"),
    Action("phrase_left", "prompt", "alt+left", "", "Move the phrase before the one on its left"),
    Action("phrase_right", "prompt", "alt+right", "", "Move the phrase behind the one on its right"),
    Action("select_all", "prompt", "alt+a,ctrl+shift+a", "", "Select all of the prompt"),
    Action("line_start", "prompt", "ctrl+a", "", "To the start of the line", palette=False),
    Action("line_end", "prompt", "ctrl+e", "", "To the end of the line", palette=False),
    Action("delete_to_line_start", "prompt", "ctrl+u", "", "Delete to the start of the line", palette=False),
    Action("delete_to_line_end", "prompt", "ctrl+k", "", "Delete to the end of the line", palette=False),
    Action("complete", "prompt", "ctrl+space,ctrl+@,ctrl+n", "Complete", "Complete a tag, style or network"),
    Action("fix", "prompt", "ctrl+f", "Fix", "Fix what the line below the prompt names"),
    Action("load", "pictures", "enter", "Load", "Load everything of this image into the form"),
    Action("img2img", "pictures", "i", "img2img", "Send it to img2img: it becomes the init image"),
    Action("mask_picture", "pictures", "m", "Mask", "Send it to inpaint: draw a mask over a part"),
    Action("hires", "pictures", "h", "Hires", "Run hires fix on it, from where it was finished"),
    Action("upscale", "pictures", "u", "Upscale", "Make it larger, by an upscaler"),
    Action("mark", "pictures", "space", "Mark", "Mark it, to compare it with others"),
    Action("compare", "pictures", "c", "Compare", "Compare what is marked, or it with the one chosen before"),
    Action("wall", "pictures", "b", "Batch", "All images of its job at once"),
    Action("before_after", "pictures", "a", "Before", "Before and after: show the image it was made from"),
    Action("delete_picture", "pictures", "D,delete", "Delete", "Delete it: its file goes to the trash"),
    Action("restore_picture", "pictures", "r", "Restore", "Restore the image that was deleted last"),
    Action("empty_trash", "pictures", "U", "", "Empty the trash: delete its images permanently"),
    Action("take_seed", "pictures", "s", "Seed", "Its seed into the form, and lock it"),
    Action("take_prompt", "pictures", "w", "Words", "Its prompts into the form"),
    Action("take_parameters", "pictures", "e", "Parameters", "Its parameters into the form, not its prompts"),
    Action("repeat", "pictures", "full_stop", "", "Generate it again"),
    Action("vary", "pictures", "v", "Vary", "Generate five variations of it"),
    Action("open_in_tab", "pictures", "n", "New tab", "Open it at full size in a new tab of the browser", only="page"),
    Action("copy_parameters", "pictures", "y", "Copy", "Copy its infotext"),
    Action("copy_prompt", "pictures", "Y", "", "Copy its prompt"),
    Action("copy_path", "pictures", "ctrl+y", "", "Copy where its file is"),
    Action("filter", "gallery", "slash", "Filter", "Show only what matches"),
    Action("thumbnails", "gallery", "t", "Wall", "A wall of thumbnails, on or off"),
    Action("large", "gallery", "z,alt+w", "Large", "Show the image alone, as large as it fits"),
    Action("sort", "gallery", "o", "Sort", "Sort by the next column"),
    Action("sort_back", "gallery", "O", "", "Sort the other way round"),
    Action("fold", "gallery", "f", "Fold", "Fold the images of this job into one line, or open it"),
    Action("fold_all", "gallery", "F", "", "Fold all jobs, or open them"),
    Action("choose_columns", "gallery", "C", "Columns", "Choose the columns and their order"),
    Action("flip", "compare", "space", "Flip", "One in the place of the other", palette=False),
    Action("other_side", "compare", "tab", "Side", "Choose the other side", palette=False),
    Action("keep", "compare", "k", "Keep", "Keep this one: the others are not marked any more", palette=False),
    Action("reject", "compare", "x", "Reject", "Take this one out of the comparison", palette=False),
    Action("brush", "mask", "b,space", "Brush", "Put the brush down, or lift it", palette=False),
    Action("rectangle", "mask", "r", "Rect", "Begin a rectangle here, or end it", palette=False),
    Action("ellipse", "mask", "e", "Oval", "Begin an ellipse here, or end it", palette=False),
    Action("lasso", "mask", "o", "Lasso", "Begin a line around an area, or close it", palette=False),
    Action("undo_stroke", "mask", "u,ctrl+z", "Undo", "Undo the last change of the mask", palette=False),
    Action("redo_stroke", "mask", "U,ctrl+y", "", "Redo what was undone", palette=False),
    Action("erase", "mask", "x", "Erase", "Take away instead of adding, or add again", palette=False),
    Action("use_mask", "mask", "enter", "Use", "Use the mask; ends an open shape", palette=False),
    Action("zoom_in", "mask", "z", "Zoom", "Zoom to the open rectangle, or nearer to the cursor", palette=False),
    Action("zoom_out", "mask", "Z", "", "More of the image", palette=False),
    Action("thicker", "mask", "plus", "", "A thicker brush", palette=False),
    Action("thinner", "mask", "minus", "", "A thinner brush", palette=False),
    Action("grow", "mask", "g", "", "Let the mask grow, by as many pixels as were typed", palette=False),
    Action("shrink", "mask", "s", "", "Let the mask shrink, by as many pixels as were typed", palette=False),
    Action("invert_mask", "mask", "i", "", "Cover what is free, and free what is covered", palette=False),
    Action("clear_mask", "mask", "c", "", "Cover nothing", palette=False),
    Action("tint", "mask", "t", "", "The mask in another colour", palette=False),
    Action("move_up", "queue", "K", "Up", "Run this job earlier"),
    Action("move_down", "queue", "J", "Down", "Run this job later"),
    Action("hold", "queue", "space", "Pause", "Pause this job, or resume it"),
    Action("cancel", "queue", "x,ctrl+x", "Cancel", "Cancel this job"),
    Action("retry", "queue", "R", "Retry", "Retry this job"),
    Action("edit_job", "queue", "e", "Edit", "Its request into the form"),
    Action("remedy", "queue", "enter", "Why?", "What happened to this job and what helps"),
    Action("hold_queue", "queue", "P", "Pause all", "Pause the queue, or resume it"),
    Action("pin_job", "queue", "o", "Pin", "Run this job on one device alone, or on any"),
    Action("drain", "queue", "d", "Drain", "Let a device take no new jobs, or take them again"),
    Action("load_model", "models", "enter", "Use", "Use this checkpoint, network or embedding", palette=False),
    Action("next_list", "models", "tab,right_square_bracket", "Next", "The next list: VAEs, networks …", palette=False),
    Action("list_before", "models", "shift+tab,left_square_bracket", "", "The list before", palette=False),
    Action("network_up", "models", "plus", "+Weight", "More weight for this network in the prompt", palette=False),
    Action("network_down", "models", "minus", "", "Less weight for this network in the prompt", palette=False),
    Action("to_negative", "models", "n", "", "Put this embedding into the negative prompt", palette=False),
    Action("search_models", "models", "slash", "Find", "Find a file by its words", palette=False),
    Action("refresh_models", "models", "r", "", "Look again which files there are", palette=False),
    Action("unload", "models", "u", "Unload", "Free the memory that the model takes"),
    Action("verify_hash", "models", "v", "Hash", "Compute its SHA-256", palette=False),
    Action("hash_all", "models", "V", "", "Compute all hashes of this list that are not known", palette=False),
    Action("pause_hashing", "models", "P", "", "Pause computing hashes, or resume", palette=False),
    Action("add_model", "models", "a", "Add", "Add a model from a path, a URL, Hugging Face or Civitai", only="near"),
    Action("stop_adding", "models", "x", "", "Stop adding a model", only="near"),
    Action("edit_setting", "settings", "enter", "Change", "Change this setting", palette=False),
    Action("reset_setting", "settings", "d", "Default", "Take it out of config.toml", palette=False),
    Action("search_settings", "settings", "slash", "Search", "Find a setting", palette=False),
    Action("changed_only", "settings", "c", "Changed", "Only settings that are not as they come", palette=False),
    Action(
        "switch_extension",
        "extensions",
        "enter,space",
        "On/off",
        "Switch this extension on or off",
        palette=False,
        only="near",
    ),
    Action("install_extension", "extensions", "i", "Install", "Install or update an extension", only="near"),
    Action(
        "trust_extension",
        "extensions",
        "a",
        "Approve",
        "Approve how this extension changed",
        palette=False,
        only="near",
    ),
    Action("remove_extension", "extensions", "x", "Remove", "Remove this extension", palette=False, only="near"),
    Action(
        "translation_template", "settings", "T", "Template", "Write a file to translate sdterm with", only="terminal"
    ),
)
BY_ID = {action.id: action for action in ACTIONS}


def actions_of(settings: Settings) -> tuple[Action, ...]:
    """Those that there are."""
    is_in_page = settings["in_page"]
    is_near = not (is_in_page or settings["connect"])
    there = {"": True, "near": is_near, "terminal": not is_in_page, "page": is_in_page}
    return tuple(action for action in ACTIONS if there[action.only])


def bindings(*scopes: str) -> list[Binding]:
    """What Textual listens for there."""
    return [
        Binding(action.keys, action.id, action.title, show=False, id=action.id)
        for action in ACTIONS
        if action.scope in scopes
    ]
