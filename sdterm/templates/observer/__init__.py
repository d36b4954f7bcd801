"""An observer: each picture's infotext says how large it is, to begin with."""

from collections.abc import Mapping

from sdterm.hooks import ImageFacts, JobOutcome, Observer, SavedImage, hookimpl


def infotext(image: ImageFacts) -> Mapping[str, str]:
    """Keys and values to add to an image's infotext."""
    return {"Megapixels": f"{image.width * image.height / 1e6:.2f}"}


def on_image_saved(image: SavedImage) -> None:
    """`image.path` is there now."""


def on_job_finished(outcome: JobOutcome) -> None:
    """`outcome.state` says how."""


@hookimpl
def sdterm_observers() -> list[Observer]:
    return [
        Observer(
            id="my_extension",
            label="My extension",
            on_image_saved=on_image_saved,
            on_job_finished=on_job_finished,
            infotext=infotext,
        )
    ]
