"""Your own schedulers, datasets and models: write one function here and register it.

docs/own-code.md has an example of each. What is registered here can be named in params.yaml like everything else,
and goes through the same checks, tests, tables and figures.
"""
