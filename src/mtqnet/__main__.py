"""`python -m mtqnet` is `mtqnet`."""

from mtqnet.cli.app import main

if __name__ == "__main__":
    main()
