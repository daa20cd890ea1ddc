"""What ships: one file per feed, its partitions, and the resources that all share."""
