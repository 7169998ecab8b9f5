"""Queue backends and the sweep."""
