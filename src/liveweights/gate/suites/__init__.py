"""What a model can do, as cases with scores: built in, in a folder, in a package, of Inspect."""
