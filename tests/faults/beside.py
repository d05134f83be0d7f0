"""`python -m tests.faults.beside`: the program, whose `images.csv` is always written beside."""

from screener.cli import main
from screener.report import images

images.BESIDE_FROM = 0
main()
