"""A tiny pipeline for tests: load -> upper -> count -> check -> send. Good modules, other ones, and faulty ones."""
