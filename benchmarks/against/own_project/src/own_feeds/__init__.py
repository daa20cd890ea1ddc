"""A project with the three feeds of the comparison."""
