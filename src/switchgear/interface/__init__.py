"""The surfaces: REST, console page and command line."""
