"""The command line."""


def main() -> None:
    """Run the command line; the entry point of the `mtqnet` script."""
    from mtqnet.cli.app import main as run

    run()
