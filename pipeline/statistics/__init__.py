"""What may be said of losses over seeds: components of variance, comparisons, sequences of looks, forecasts, many problems.

Pure functions of arrays. A seed is one split of the data and has several streams: draws of initial weights and data order,
of its own. The losses of a label (a scheduler with its configuration) are a matrix, (splits, streams); labels share splits.
"""
