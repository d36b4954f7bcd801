"""Everything that makes pictures and can be replaced. Each module is a plugin, registered through the hooks of
`sdterm.hooks` like a stranger's; core and engine know none of them by name."""
