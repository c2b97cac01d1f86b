"""``python -m torchmetrics_fmiqa``: the command line, also where the script ``fmiqa`` is not on the path."""

from torchmetrics_fmiqa.cli import main

if __name__ == "__main__":
    main()
