"""MiniGrid's tasks for the compiled batch.

    engine     cells, rows, levels, rules, step, observation: what all tasks are made of
    tasks      a file for each task: its levels, its rule, its record; `tasks.FAMILIES` is the table of all
    family     the record of a task; `kept`: what MiniGrid's environments remember beside the grid

Imports run one way: engine <- kept <- family <- tasks. `babyai` beside this package builds on `engine` and `family`; `backends`
makes Gymnasium's vector environments of all of it. No file here knows of either.

The way of a reset. `backends.vector.make_minigrid` makes one environment of MiniGrid, looks its class up in `tasks.FAMILIES`
(`babyai.families` for BabyAI's), and compares a few levels. `backends.compiled` seeds a NumPy generator for each row, lays its
state into `rng` (`engine.random`), and has the family's generator draw all rows in one compiled call: it writes codes into
`grid` and the columns of `agent` (`engine.rows`, `engine.codes`). `engine.observe` then writes the images.

The way of a step. `backends.compiled` hands actions and arrays to `engine.step`, compiled once for each rule. For each row the
rule acts (most call `engine.rules.act` and look at what came of it) and gives an outcome, of which reward and ending follow;
`engine.observe` writes the images of all rows in the same call. Rows whose episode ended get a new level, as at a reset.

To add a task that MiniGrid has:

1. A file in `tasks`, with its generator (arguments as in `engine.levels`; the same draws in the same order as the class's
   `_gen_grid`) and `FAMILIES = {ItsClass: Family(generator, ...)}`. `Family` says what else may be needed: settings of the class,
   texts of missions, a rule if more than the goal ends an episode (`engine.rules`), attributes that its `step` reads (`kept`).
2. A line in `tasks/__init__.py` (and the number of covered ids in `tests/envs/backends/test_choice.py`).

The tests then replay it against MiniGrid by its ids, level by level and step by step (`tests/envs`); `make_minigrid` falls back on
MiniGrid where the levels differ.
"""
