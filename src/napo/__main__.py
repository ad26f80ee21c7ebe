"""`python -m napo` is `napo`."""

from napo.cli import main

if __name__ == "__main__":
    main()
