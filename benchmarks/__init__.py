"""What is fast, and by how much: one question a file, each run as `python -m benchmarks.NAME`."""
