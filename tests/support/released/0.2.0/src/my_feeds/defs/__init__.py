"""What runs: a folder with a `defs.yaml`, or a module, for each feed."""
