"""Examples that run: `python -m optioncoagent.examples.own_hierarchy`."""
