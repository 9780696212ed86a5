"""The program as ``python -m refsnn``."""

from refsnn.cli import entry

if __name__ == "__main__":
    entry()
