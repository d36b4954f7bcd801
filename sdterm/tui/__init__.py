"""The workstation: a Textual application, one client of the host among others."""
