"""What benchmarks start: `dagster dev`, and the project that it is compared with."""
