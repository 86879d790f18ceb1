"""Option-critic as an asynchronous coagent network."""
