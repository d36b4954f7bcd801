"""What is about jobs: list them, follow one, pause, resume, cancel and retry."""

from __future__ import annotations

from functools import partial

from sdterm.api import ENDED, STATES, JobView
from sdterm.cli.generate import cancel_job
from sdterm.cli.plain.dialogue import Dialogue, WrongWordsError, number
from sdterm.cli.plain.words import of_job
from sdterm.tui.language import tr


def queue(talk: Dialogue, words: str) -> None:
    with talk.host() as host:
        open_jobs = [job for state in STATES if state not in ENDED for job in host.jobs([state], limit=500).jobs]
        ended = host.jobs(ENDED, limit=5).jobs
        whole = host.queue()
    if whole.paused:
        talk.say(tr("The queue is paused: no new job starts. `resume` continues it."))
    jobs: list[JobView] = [*open_jobs, *ended]
    talk.say_list([of_job(job) for job in jobs] or [tr("There is no job yet.")])


def pause(talk: Dialogue, words: str) -> None:
    with talk.host() as host:
        if words:
            host.pause(number(words))
            talk.say(tr("Job {job} is paused.", job=number(words)))
        else:
            host.pause_queue()
            talk.say(tr("The queue is paused; `resume` continues it."))


def resume(talk: Dialogue, words: str) -> None:
    with talk.host() as host:
        if words:
            host.resume(number(words))
            talk.say(tr("Job {job} is resumed.", job=number(words)))
        else:
            host.resume_queue()
            talk.say(tr("The queue is resumed."))


def cancel(talk: Dialogue, words: str) -> None:
    job = number(words or talk.ask(tr("Job:")))
    with talk.host() as host:
        host.cancel(job)
    talk.say(tr("Job {job} is cancelled.", job=job))


def retry(talk: Dialogue, words: str) -> None:
    job = number(words or talk.ask(tr("Job:")))
    with talk.host() as host:
        host.retry(job)
    talk.follow(job, partial(cancel_job, talk.settings, job))


def watch(talk: Dialogue, words: str) -> None:
    with talk.host() as host:
        found = [host.job(number(words))] if words else host.jobs(["running"], limit=1).jobs or host.jobs(limit=1).jobs
    if not found:
        raise WrongWordsError(tr("There is no job yet."))
    talk.say(of_job(found[0]))
    talk.follow(found[0].id)
