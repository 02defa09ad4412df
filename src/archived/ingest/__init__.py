"""From a file in a hot folder to a document in custody. Knows nothing of pipelines' content."""
