"""Where documents come from besides the API."""
