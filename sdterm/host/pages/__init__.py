"""Pages for browsers: the workstation in a terminal, a gallery, and pictures at full size."""
