"""`python -m fastseek` is the command `fastseek`."""

from .cli import main

if __name__ == "__main__":
    main()
