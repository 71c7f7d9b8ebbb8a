"""What happens when things fail: each module is one experiment, run by `python -m benchmarks.faults [NAME ...]`."""
