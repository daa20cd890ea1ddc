"""A project with four feeds, whose sample files are in `data/source/`."""
