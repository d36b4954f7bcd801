"""What diffusers itself says of pipelines that run their own loop: what their calls take, which schedulers step them,
what lies in their latents. Nothing here knows a pipeline by name."""
