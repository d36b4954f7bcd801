"""Everything that needs no torch: names, files, plugins, settings, infotext."""
