"""`python -m mtqnet` is `mtqnet`."""

from mtqnet.cli import main

if __name__ == "__main__":
    main()
