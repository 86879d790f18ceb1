"""`python -m optioncoagent` is the command `optioncoagent`, with the current folder on the path."""

from optioncoagent.cli import main

main()
