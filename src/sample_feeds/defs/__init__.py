"""What runs: one module or folder per feed, the partitions, the resources, and what watches all."""
