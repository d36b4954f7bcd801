"""Samplers, one algorithm a file, in k-diffusion's manner and in the reference's order of float operations."""
