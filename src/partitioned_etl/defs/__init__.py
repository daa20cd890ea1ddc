"""What ships: one module or folder per feed, the partitions, and the resources that all share."""
