"""The networks, one a module: plain torch, without training or files."""
