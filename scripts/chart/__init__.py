"""The parts of the Helm chart that are made from code: its values, their schema, its README."""
