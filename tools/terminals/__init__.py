"""The workstation in real terminals: what stands on their screens, compared with the picture's file."""
