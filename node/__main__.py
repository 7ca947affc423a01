"""`python -m node` is the command `lookalike`."""

from node.cli.main import main

if __name__ == "__main__":
    main()
