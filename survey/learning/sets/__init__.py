"""Labelled sets, one kind a module: how they are built from light and catalogues, kept as Parquet, read and checked."""
