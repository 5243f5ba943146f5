"""``python -m consecution`` is the command line."""

from consecution.cli.main import main

if __name__ == "__main__":
    main()
