"""Environments that are tables: a gridworld and four rooms, played by `tables.TableEnv`."""
