"""Labelled sets from stars and from finished runs, one kind a module; their form is that of `survey.learning.sets`."""
