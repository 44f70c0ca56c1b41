"""What is learnt from the light: labelled sets, networks, how they are trained, and what they are worth.

`train.train` makes a model's folder from labelled views, `artifact.load_artifact` reads one, `evaluate.evaluate`
measures it.
"""
