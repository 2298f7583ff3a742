"""Windows over the feature matrix, as an index and a gather."""
