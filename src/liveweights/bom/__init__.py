"""Bills of materials: what a checkpoint, an alias or the service is made of, with proofs."""
