"""What all tasks are made of, compiled.

codes      a byte for a cell, a word for what it looks like
rows       the arrays of a batch
random     NumPy's stream, bit for bit
levels     what levels are made of: walls, free cells, colours; `rooms`: rooms in a grid, with doors
rules      the seven actions, the outcomes of a step, and the rules that several tasks share
observe    what the agent sees
step       a step of many environments in one compiled call; `template`: a compiled function for each rule
"""
