"""`python -m mtlface` is the command `mtlface`."""

from mtlface.cli import main

if __name__ == "__main__":
    main()
