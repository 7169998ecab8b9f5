"""The built-in modules: plug-ins like everybody else's, found through entry points."""
