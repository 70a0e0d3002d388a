"""`python -m benchmarks` is the main job: see `benchmarks.paper.tune`."""

from benchmarks.paper.tune import main

if __name__ == "__main__":
    main()
