"""The papers' experiments. A module is three names: SETTINGS (data), run(setting, seed) -> rows, plot(rows) -> Figure.

Beside them ASSUMPTIONS says how what the papers leave open was read; it is printed under every figure. `reproduce` runs a module by name.
"""
