"""SavedModels: the graph that answers, read from their files, and translated operation by operation into layers."""
