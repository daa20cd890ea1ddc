"""The feeds of this project, and what is computed from their tables."""
