"""Experiments: each module is SETTINGS (data), run(setting, seed) -> rows, plot(rows) -> Figure. Figures are drawn from rows alone."""
