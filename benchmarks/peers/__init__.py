"""What others do, written plainly or taken from their packages: the rivals of the benchmarks."""
