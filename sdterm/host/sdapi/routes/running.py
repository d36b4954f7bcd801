"""What runs: how far it is, and an end to it."""

from typing import Any

from fastapi import APIRouter, Request

from sdterm.host.sdapi.bodies import body
from sdterm.host.sdapi.schema import documented
from sdterm.host.sdapi.tasks import Tasks, fraction, place
from sdterm.host.sdapi.values import TASK, read_values

_SKIP = {"skip_current_image": ("boolean", False)}
_FALSE = {"type": "boolean", "default": False}
_SKIP_PARAMETER = {"parameters": [{"name": "skip_current_image", "in": "query", "required": False, "schema": _FALSE}]}


def routes(tasks: Tasks) -> APIRouter:
    """Progress, interrupt and skip: of whatever the host draws, whoever asked for it."""
    router = APIRouter()

    @router.get("/sdapi/v1/progress", **documented("ProgressResponse") | {"openapi_extra": _SKIP_PARAMETER})
    async def progressapi(request: Request) -> dict[str, Any]:
        """How far the job is that is drawn now, with a picture of it."""
        asked = read_values(dict(request.query_params), _SKIP, place="query")
        now = tasks.progress()
        shown = None if asked.get("skip_current_image") else now.job
        return {
            "progress": now.progress,
            "eta_relative": now.eta,
            "state": now.state,
            "current_image": tasks.preview(shown) if shown is not None else None,
            "textinfo": None,
        }

    @router.post("/sdapi/v1/interrupt", **documented())
    async def interruptapi() -> dict[str, Any]:
        """End what is drawn: the picture comes as it stands, those after it do not come."""
        await tasks.interrupt()
        return {}

    @router.post("/sdapi/v1/skip", **documented())
    async def skip() -> None:
        """End the picture that is drawn as it stands, and go on with the next one."""
        await tasks.skip()

    @router.post("/internal/progress", **documented("InternalProgressResponse", "ProgressRequest"))
    async def progress(request: Request) -> dict[str, Any]:
        """How far a task is, by the name that it was given as `force_task_id`."""
        asked = {name: default for name, (_, default) in TASK.items()} | read_values(await body(request), TASK)
        job = tasks.job(str(asked["id_task"]))
        said = {
            "active": job is not None and job.state == "running",
            "queued": job is not None and job.state in ("queued", "paused", "waiting"),
            "completed": job is not None and job.ended is not None,
            "progress": None,
            "eta": None,
            "live_preview": None,
            "id_live_preview": -1,
            "textinfo": None,
        }
        if job is None or not said["active"]:
            return {**said, "textinfo": place(str(asked["id_task"]), tasks.pending())}
        now = tasks.progress()
        number = now.state["sampling_step"]
        picture = tasks.preview(job.id) if asked["live_preview"] and number != asked["id_live_preview"] else None
        return {
            **said,
            "progress": max(0.0, fraction(now.state) - 0.01),
            "eta": now.eta,
            "live_preview": f"data:image/png;base64,{picture}" if picture else None,
            "id_live_preview": number if picture else asked["id_live_preview"],
        }

    @router.get("/internal/pending-tasks", **documented("PendingTasksResponse"))
    async def get_pending_tasks() -> dict[str, Any]:
        """The tasks that have not ended."""
        names = tasks.pending()
        return {"size": len(names), "tasks": names}

    return router
