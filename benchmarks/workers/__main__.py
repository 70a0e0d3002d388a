"""`python -m benchmarks.workers`; see `benchmarks.workers.experiments`."""

from benchmarks.workers.experiments import main

if __name__ == "__main__":
    main()
