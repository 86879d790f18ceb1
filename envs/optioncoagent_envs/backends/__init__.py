"""The batches: MiniGrid and BabyAI as Gymnasium vector environments.

vector     `make_minigrid`, which picks one of the three ways to serve an id, and what each covers
batch      what the batches have in common: spaces, seeds, the form of a finished episode
compiled   levels, rules and observations compiled; `state`: its rows as MiniGrid's environments and back
stock      MiniGrid's levels and rules, compiled observations
registry   every id under this project's namespace
"""
