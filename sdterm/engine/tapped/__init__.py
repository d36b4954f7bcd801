"""Pipelines that run their own loop, tapped at their denoisers: the tape, progress and memory plans of everybody's."""
