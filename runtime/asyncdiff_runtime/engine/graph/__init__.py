"""A denoiser's evaluation as a graph of tensor operations, and what can be done with one.

`capture` makes it from a request, once; the passes of this package are functions from graph to graph or to
plain data, and know no model.
"""
